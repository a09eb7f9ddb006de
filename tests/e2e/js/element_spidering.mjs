// The search list slides over more than 60 rooms, batch by batch; then rooms move, come and go while it stands.
import { element } from "./element.mjs";
import { assertEqual, clientFor, config, createRoom, scenario, until } from "./lib.mjs";

const BATCH = 20;
const rooms = config.rooms;

await scenario(async ({ alice, bob, carol }) => {
    const { client, manager } = await element(alice, (manager, client) => manager.configure(client, config.proxy));
    const windows = new Map();
    client.sliding.on("SlidingSync.List", (key) => {
        if (key === "search_list") windows.set(client.sliding.getListParams(key).ranges[1][0], client.order(key));
    });
    await manager.startSpidering(BATCH, 0);

    let expected = [...rooms.newest_first];
    const window = (first) => [...expected.slice(0, BATCH), ...expected.slice(first, first + BATCH)];
    const firsts = [BATCH, 2 * BATCH, 3 * BATCH];
    assertEqual([...windows.keys()], firsts, "where the second range stood");
    for (const first of firsts) assertEqual(windows.get(first), window(first), `the window at ${first}`);
    const unknown = expected.filter((roomId) => !client.room(roomId));
    assertEqual(unknown, [], "rooms that were not found");
    assertEqual(client.room(rooms.plain[0]).name, "Room 00", "the name of the oldest room");
    assertEqual(client.events(rooms.plain[0]), [], "events that nobody asked for");
    assertEqual(client.room(rooms.invite).getMyMembership(), "invite", "membership of the invite");

    /** Wait until the list is as long and in the order that it should have after a change. */
    async function becomes(what, order) {
        expected = order;
        await until(what, () => JSON.stringify(client.order("search_list")) === JSON.stringify(window(3 * BATCH)));
        assertEqual(client.sliding.getListData("search_list").joinedCount, expected.length, `count after: ${what}`);
    }
    const without = (roomId) => expected.filter((other) => other !== roomId);
    const onTop = (roomId) => [roomId, ...without(roomId)];

    const owner = clientFor(alice);
    // from the second range, from between the ranges, from the first range's end and middle, and where it was
    for (const place of [expected.length - 2, 30, 19, 10, 0]) {
        const roomId = expected.slice(place).find((other) => rooms.plain.includes(other));
        await owner.sendTextMessage(roomId, "up");
        await becomes(`the room from ${place} on top`, onTop(roomId));
    }

    const made = await createRoom(clientFor(carol), "Made by Carol");
    await owner.joinRoom(made);
    await becomes("a joined room", onTop(made));
    const { room_id: asked } = await clientFor(carol).createRoom({ name: "Asked", invite: [alice.user_id] });
    await becomes("an invite", onTop(asked));
    await owner.leave(asked);
    await becomes("the invite refused", without(asked));
    const left = expected[40];
    await owner.leave(left);
    await becomes("a room left", without(left));
    await clientFor(carol).kick(made, alice.user_id, "enough");
    await becomes("a kick", without(made));
    const again = await createRoom(clientFor(bob), "Bob's");
    await owner.joinRoom(again);
    await becomes("another room joined", onTop(again));
});
