// The list is ordered by recency, follows new messages, and its window can be moved.
import { ALL_ROOMS, assertEqual, clientFor, createRoom, scenario, syncing, until } from "./lib.mjs";

await scenario(async ({ alice }) => {
    const owner = clientFor(alice);
    const rooms = [];
    for (const name of ["one", "two", "three", "four"]) rooms.push(await createRoom(owner, name));
    const newestFirst = [...rooms].reverse();

    const client = await syncing(alice, { all: ALL_ROOMS, names: { ...ALL_ROOMS, sort: ["by_name"] } });
    assertEqual(client.order(), newestFirst, "by recency");
    assertEqual(
        client.order("names").map((roomId) => client.room(roomId).name),
        ["four", "one", "three", "two"],
        "by name",
    );
    assertEqual(client.sliding.getListData("all").joinedCount, 4, "count");

    await owner.sendTextMessage(rooms[0], "up");
    const moved = [rooms[0], rooms[3], rooms[2], rooms[1]];
    await until("the oldest room on top", () => JSON.stringify(client.order()) === JSON.stringify(moved));

    await client.sliding.setListRanges("all", [[0, 1]]);
    assertEqual(client.order(), moved.slice(0, 2), "the smaller window");
    await client.sliding.setListRanges("all", [[0, 2]]);
    await until("the larger window", () => client.order().length === 3);
    assertEqual(client.order(), moved.slice(0, 3), "the larger window");
});
