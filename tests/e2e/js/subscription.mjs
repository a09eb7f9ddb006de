// Opening a room brings its timeline and state, though the list's window does not show it.
import { ALL_ROOMS, assertEqual, clientFor, createRoom, scenario, syncing, until } from "./lib.mjs";

await scenario(async ({ alice }) => {
    const owner = clientFor(alice);
    const hidden = await createRoom(owner, "Hidden", { topic: "soup" });
    const shown = await createRoom(owner, "Shown");
    const client = await syncing(alice, { all: { ...ALL_ROOMS, ranges: [[0, 0]], timeline_limit: 1 } });
    assertEqual(client.order(), [shown], "window");

    await client.sliding.modifyRoomSubscriptions(new Set([hidden]));
    await until("the room", () => client.room(hidden)?.name === "Hidden");
    const topic = client.room(hidden).currentState.getStateEvents("m.room.topic", "");
    assertEqual(topic.getContent().topic, "soup", "topic");
    // a request that only unsubscribes is held until there is news
    const closed = client.sliding.modifyRoomSubscriptions(new Set());
    await owner.sendTextMessage(shown, "on");
    await client.hears(shown, "on");
    await closed;
});
