// MSC4186: opening a room brings its state, though the list does not have it, and it stays live; so does the list.
import { ALL_ROOMS, assertEqual, clientFor, createRoom, scenario, syncing, until } from "./lib.mjs";

await scenario(async ({ alice }) => {
    const owner = clientFor(alice);
    const hidden = await createRoom(owner, "Hidden", { topic: "soup" });
    const shown = await createRoom(owner, "Shown", { creation_content: { type: "m.space" } });
    const client = await syncing(alice, { all: { ...ALL_ROOMS, filters: { room_types: ["m.space"] } } });
    await until("the shown room", () => client.room(shown)?.name === "Shown");
    assertEqual(client.sliding.getListData("all").joinedCount, 1, "rooms of the list");
    assertEqual(client.room(hidden), null, "the hidden room");

    client.sliding.modifyRoomSubscriptions(new Set([hidden]));
    await until("the hidden room", () => client.room(hidden)?.name === "Hidden");
    const topic = client.room(hidden).currentState.getStateEvents("m.room.topic", "");
    assertEqual(topic.getContent().topic, "soup", "topic");
    for (const roomId of [shown, hidden, shown]) {
        await owner.sendTextMessage(roomId, `now in ${roomId}`);
        await client.hears(roomId, `now in ${roomId}`);
    }
});
