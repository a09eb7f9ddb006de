// What every scenario uses: accounts, a sliding sync client, bounded waits.
// A scenario is run as `node scenario.mjs CONFIG`, CONFIG being JSON: {homeserver, proxy, accounts: {name: {...}}}, and
// `sdk`, the package that the SDK is, where it is not the one that speaks MSC3575.
import { join } from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const PATIENCE_MS = 20_000;
const SCENARIO_MS = 90_000;

export const config = JSON.parse(process.argv[2]);
/** Whether the SDK speaks MSC4186. */
export const simplified = config.sdk !== undefined;

/** A module of the SDK. */
export function imported(path) {
    return import(pathToFileURL(join(process.env.SYNCPROXY_TEST_NODE_MODULES, config.sdk ?? "matrix-js-sdk", "lib", path)));
}

const complain = console.error.bind(console);
// rust-crypto traces there, and the SDK's parts have loggers of their own
if (!process.env.SYNCPROXY_TEST_JS_LOG) {
    for (const level of ["debug", "info", "warn", "error"]) console[level] = () => {};
}

const { logger } = await imported("logger.js");
logger.setLevel(process.env.SYNCPROXY_TEST_JS_LOG ?? "silent");
export const sdk = await imported("index.js");
const { SlidingSync, SlidingSyncEvent, SlidingSyncState } = await imported("sliding-sync.js");

/** The parameters of a list of all rooms, newest first, that fits Element Web's needs. */
export const ALL_ROOMS = {
    ranges: [[0, 19]],
    sort: ["by_recency"],
    timeline_limit: 10,
    required_state: [
        ["m.room.create", ""],
        ["m.room.encryption", ""],
        ["m.room.name", ""],
        ["m.room.member", "$ME"],
        ["m.room.member", "$LAZY"],
    ],
};

/** Element Web's subscription to the room that is looked at. */
export const OPEN_ROOM = {
    timeline_limit: 50,
    required_state: [
        ["*", "*"],
        ["m.room.member", "$ME"],
        ["m.room.member", "$LAZY"],
    ],
};

export function fail(message) {
    throw new Error(message);
}

export function assertEqual(found, expected, what) {
    const [left, right] = [JSON.stringify(found), JSON.stringify(expected)];
    if (left === right) return;
    const at = Array.isArray(found) ? found.findIndex((item, index) => item !== expected[index]) : -1;
    fail(`${what}: ${left}, expected ${right}${at < 0 ? "" : `, first different at ${at}`}`);
}

/** Wait until a condition holds; looks again every few milliseconds, for 20 s at most. */
export async function until(what, condition) {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
        const found = await condition();
        if (found) {
            console.log(JSON.stringify({ seen: what }));
            return found;
        }
        if (Date.now() > deadline) fail(`never seen: ${what}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
    }
}

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Have the test do something to the servers; returns when it is done. */
export async function ask(what) {
    console.log(JSON.stringify({ ask: what }));
    if ((await answers.next()).done) fail(`nobody does this: ${what}`);
}

/** A client for requests to the homeserver; `startSync` makes it sync. */
export function clientFor(account) {
    return sdk.createClient({
        baseUrl: config.homeserver,
        userId: account.user_id,
        accessToken: account.access_token,
        deviceId: account.device_id,
    });
}

/** An account's login on a device that is new. */
export async function loggedIn(account) {
    const login = { type: "m.login.password", user: account.user_id, password: account.password };
    return { ...account, ...(await sdk.createClient({ baseUrl: config.homeserver }).loginRequest(login)) };
}

const started = [];

/** A client that syncs through the proxy; the scenario ends it, and fails if it met an error. */
export class SyncingClient {
    constructor(client, sliding) {
        started.push(this);
        this.client = client;
        this.sliding = sliding;
        this.states = [];
        this.errors = [];
        this.answers = [];
        client.on(sdk.ClientEvent.Sync, (state) => this.states.push(state));
        this.sliding.on(SlidingSyncEvent.Lifecycle, (state, answer, error) => {
            if (state !== SlidingSyncState.RequestFinished) return;
            if (error) this.errors.push(String(error));
            else this.answers.push(answer);
        });
    }

    async start(more = {}) {
        await this.client.startClient({ slidingSync: this.sliding, lazyLoadMembers: true, ...more });
        await until(`${this.client.getUserId()} syncs`, () => this.states.includes("SYNCING"));
        return this;
    }

    /** The room ids of a list, in order: of the newest answer with MSC4186, for that SDK does not keep them. */
    order(key = "all") {
        if (simplified) return this.answers.at(-1).lists[key].ops.flatMap((op) => op.room_ids);
        const { roomIndexToRoomId } = this.sliding.getListData(key);
        return Object.keys(roomIndexToRoomId)
            .sort((a, b) => a - b)
            .map((index) => roomIndexToRoomId[index]);
    }

    room(roomId) {
        return this.client.getRoom(roomId);
    }

    /** The live timeline of a room. */
    events(roomId) {
        return this.room(roomId)?.getLiveTimeline().getEvents() ?? [];
    }

    /** The texts of a room's messages. */
    bodies(roomId) {
        return this.events(roomId)
            .filter((event) => event.getType() === "m.room.message")
            .map((event) => event.getContent().body);
    }

    async hears(roomId, body) {
        await until(`${this.client.getUserId()} hears ${body}`, () => this.bodies(roomId).includes(body));
    }
}

function slidingOf(client, lists) {
    return new SlidingSync(config.proxy, new Map(Object.entries(lists)), OPEN_ROOM, client, 10_000);
}

/** Start a client of an account on a list of all rooms. */
export async function syncing(account, lists = { all: ALL_ROOMS }) {
    const client = clientFor(account);
    return new SyncingClient(client, slidingOf(client, lists)).start();
}

/** Start a client with rust-crypto and an in-memory store. */
export async function encrypting(account, lists = { all: ALL_ROOMS }) {
    const client = clientFor(account);
    await client.initRustCrypto({ useIndexedDB: false });
    return new SyncingClient(client, slidingOf(client, lists)).start();
}

/** Create a room that everybody may join. */
export async function createRoom(client, name, more = {}) {
    const { room_id: roomId } = await client.createRoom({ name, preset: "public_chat", ...more });
    return roomId;
}

/** Run a scenario: exit 0 when it is through, else 1 with a message. */
export async function scenario(story) {
    const timer = setTimeout(() => {
        complain(`took longer than ${SCENARIO_MS} ms`);
        process.exit(1);
    }, SCENARIO_MS);
    try {
        await story(config.accounts);
        for (const { client, errors } of started) {
            client.stopClient();
            if (errors.length > 0) fail(`sync errors: ${errors.join("; ")}`);
        }
        clearTimeout(timer);
        console.log(JSON.stringify({ ok: true }));
        process.exit(0);
    } catch (error) {
        complain(error?.stack ?? String(error));
        for (const { errors } of started) errors.forEach((text) => complain(`sync error: ${text}`));
        process.exit(1);
    }
}
