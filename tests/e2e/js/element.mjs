// Element Web's own SlidingSyncManager on matrix-js-sdk 37.2.0, started as Element Web starts it.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { compileFunction } from "node:vm";
import { clientFor, config, imported, sdk, SyncingClient } from "./lib.mjs";

const installed = createRequire(join(process.env.SYNCPROXY_TEST_NODE_MODULES, "matrix-react-sdk", "package.json"));
const MODULE = installed.resolve("matrix-react-sdk/lib/SlidingSyncManager.js");

/** What the manager imports beside Babel's helpers: the SDK's modules, and settings as they are from the start. */
const OTHERS = {
    "matrix-js-sdk/src/matrix": sdk,
    "matrix-js-sdk/src/sliding-sync": await imported("sliding-sync.js"),
    "matrix-js-sdk/src/logger": await imported("logger.js"),
    "matrix-js-sdk/src/utils": await imported("utils.js"),
    "./settings/SettingsStore": { getValue: () => undefined },
    "./settings/controllers/SlidingSyncController": { serverSupportsSlidingSync: false },
};

function required(name) {
    return name.startsWith("@babel/runtime/") ? installed(name) : OTHERS[name];
}

const exported = {};
compileFunction(readFileSync(MODULE, "utf8"), ["require", "exports"], { filename: MODULE })(required, exported);

export const { SlidingSyncManager } = exported;
export const supports = () => OTHERS["./settings/controllers/SlidingSyncController"].serverSupportsSlidingSync;

/** The operator's well-known document names the proxy, as Element Web wants it; nothing else is asked of it. */
sdk.AutoDiscovery.setFetchFn(async (url) => {
    const found = String(url) === `https://${config.server_name}/.well-known/matrix/client`;
    const document = {
        "m.homeserver": { base_url: config.homeserver },
        "org.matrix.msc3575.proxy": { url: config.proxy },
    };
    return String(url).startsWith(config.homeserver)
        ? fetch(url)
        : new Response(JSON.stringify(found ? document : {}), { status: found ? 200 : 404 });
});

// the manager lets go of promises, which are rejected with their transaction id where a newer change overtook them
process.on("unhandledRejection", (reason) => {
    if (typeof reason !== "string") throw reason;
});

/** Element Web's client of an account: `begin` is what is done with its manager before it syncs. */
export async function element(account, begin) {
    const manager = new SlidingSyncManager();
    const client = clientFor(account);
    await client.initRustCrypto({ useIndexedDB: false });
    await begin(manager, client);
    const watched = new SyncingClient(client, manager.slidingSync);
    await watched.start({ pendingEventOrdering: "detached", threadSupport: true });
    return { manager, client: watched };
}
