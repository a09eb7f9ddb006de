// MSC4186: Element Web's five lists, whose windows grow until they hold all; then rooms move from list to list.
import { assertEqual, clientFor, createRoom, scenario, syncing, until } from "./lib.mjs";

const FIRST = [0, 10];
const STEP = 10;
const ROOMS = 26;
const DMS = 13;
const SPACE = { creation_content: { type: "m.space" } };

/** The same in all lists but that of spaces: the newest message, and what the room list shows. */
const SHOWN = {
    ranges: [FIRST],
    timeline_limit: 1,
    required_state: [
        ["m.room.join_rules", ""],
        ["m.room.avatar", ""],
        ["m.room.tombstone", ""],
        ["m.room.encryption", ""],
        ["m.room.create", ""],
        ["m.room.member", "$ME"],
    ],
};
const LISTS = {
    spaces: {
        ranges: [FIRST],
        timeline_limit: 0,
        required_state: [
            ["m.room.create", ""],
            ["m.space.child", "*"],
        ],
        filters: { room_types: ["m.space"] },
    },
    invites: { ...SHOWN, filters: { is_invite: true } },
    favourites: { ...SHOWN, filters: { tags: ["m.favourite"] } },
    dms: { ...SHOWN, filters: { is_dm: true, is_invite: false, not_tags: ["m.favourite", "m.lowpriority"] } },
    untagged: SHOWN,
};

/** What a room list makes of the rooms that the client knows: their ids by section. */
function sections(client) {
    const direct = Object.values(client.getAccountData("m.direct")?.getContent() ?? {}).flat();
    const here = client.getRooms().filter((room) => ["join", "invite"].includes(room.getMyMembership()));
    const liked = (room) => "m.favourite" in room.tags;
    const ids = (isIn) => here.filter(isIn).map((room) => room.roomId);
    return {
        spaces: ids((room) => room.isSpaceRoom()),
        invites: ids((room) => room.getMyMembership() === "invite"),
        favourites: ids(liked),
        dms: ids((room) => direct.includes(room.roomId) && !liked(room)),
        untagged: ids(() => true),
    };
}

/** Let each window grow by ten after each answer, until it holds its list; the last place of each, when it does. */
function growing(sliding) {
    const last = Object.fromEntries(Object.keys(LISTS).map((key) => [key, FIRST[1]]));
    const grow = () => {
        for (const key of Object.keys(LISTS).filter((key) => sliding.getListData(key).joinedCount > last[key] + 1)) {
            last[key] += STEP;
            sliding.setListRanges(key, [[0, last[key]]]);
        }
    };
    sliding.on("SlidingSync.Lifecycle", (state) => state === "COMPLETE" && grow());
    grow();
    return last;
}

/** Wait until the client has in its sections, and the proxy in its lists, what there should be; returns that. */
async function settles(client, what, expected) {
    const sorted = (lists) => JSON.stringify(Object.keys(LISTS).map((key) => [...lists[key]].sort()));
    await until(what, () => sorted(sections(client.client)) === sorted(expected));
    for (const key of Object.keys(LISTS)) {
        const listed = () => JSON.stringify(client.order(key)) === JSON.stringify(expected[key]);
        await until(`${key} with ${what}`, listed);
        assertEqual(client.sliding.getListData(key).joinedCount, expected[key].length, `count of ${key}`);
    }
    return expected;
}

const without = (list, roomId) => list.filter((other) => other !== roomId);

await scenario(async ({ alice, bob }) => {
    const [owner, other] = [clientFor(alice), clientFor(bob)];
    const rooms = [];
    for (let number = 0; number < ROOMS; number++) rooms.push(await createRoom(owner, `Room ${number}`));
    const [family, work] = [await createRoom(owner, "Family", SPACE), await createRoom(owner, "Work", SPACE)];
    await owner.sendStateEvent(work, "m.space.child", { via: ["hs.test"] }, rooms[0]);
    const { room_id: party } = await other.createRoom({ name: "Party", invite: [alice.user_id] });
    let direct = rooms.slice(0, DMS);
    await owner.setAccountDataRaw("m.direct", { [bob.user_id]: direct });
    // a direct chat, and one that is far down among all rooms
    for (const roomId of [rooms[0], rooms[20]]) await owner.setRoomTag(roomId, "m.favourite", { order: 0.5 });

    const client = await syncing(alice, LISTS);
    assertEqual(client.order("untagged").length, FIRST[1] + 1, "rooms in the first window");
    const windows = growing(client.sliding);

    let now = await settles(client, "all that there is", {
        spaces: [work, family],
        invites: [party],
        favourites: [rooms[20], rooms[0]],
        dms: direct.slice(1).reverse(),
        untagged: [party, work, family, ...rooms.toReversed()],
    });
    assertEqual(windows, { spaces: 10, invites: 10, favourites: 10, dms: 20, untagged: 30 }, "windows");
    assertEqual(client.room(rooms[0]).name, "Room 0", "the oldest room's name");
    assertEqual(client.room(party).name, "Party", "the invite's name");
    const children = client.room(work).currentState.getStateEvents("m.space.child");
    assertEqual(children.map((event) => event.getStateKey()), [rooms[0]], "children of a space");

    await owner.setRoomTag(rooms[5], "m.favourite", { order: 0.5 });
    now = await settles(client, "a direct chat that became a favourite", {
        ...now,
        favourites: [rooms[20], rooms[5], rooms[0]],
        dms: without(now.dms, rooms[5]),
    });
    await owner.deleteRoomTag(rooms[20], "m.favourite");
    now = await settles(client, "a favourite no more", { ...now, favourites: [rooms[5], rooms[0]] });
    direct = [...without(direct, rooms[1]), rooms[24]];
    await owner.setAccountDataRaw("m.direct", { [bob.user_id]: direct });
    now = await settles(client, "a room that became a direct chat, and one that is none any more", {
        ...now,
        dms: [rooms[24], ...without(now.dms, rooms[1])],
    });
    await owner.joinRoom(party);
    now = await settles(client, "the invite accepted", { ...now, invites: [] });
    await owner.sendTextMessage(rooms[2], "up");
    const up = (list) => [rooms[2], ...without(list, rooms[2])];
    now = await settles(client, "a direct chat on top", { ...now, dms: up(now.dms), untagged: up(now.untagged) });
    const club = await createRoom(owner, "Club", SPACE);
    await settles(client, "a new space", { ...now, spaces: [club, ...now.spaces], untagged: [club, ...now.untagged] });
    await owner.leave(work);
    const spaces = JSON.stringify([family, club].sort());
    await until("a space left", () => JSON.stringify(sections(client.client).spaces.sort()) === spaces);
});
