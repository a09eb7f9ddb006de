// Typing, read receipts and tags reach a client while it syncs.
import { clientFor, createRoom, scenario, syncing, until } from "./lib.mjs";

await scenario(async ({ alice, bob }) => {
    const speaker = clientFor(alice);
    const roomId = await createRoom(speaker, "Kitchen");
    const reader = clientFor(bob);
    await reader.joinRoom(roomId);
    const client = await syncing(alice);
    await until("the room", () => client.room(roomId));
    const typing = () =>
        client
            .room(roomId)
            .getMembers()
            .filter((member) => member.typing)
            .map((member) => member.userId);

    await reader.sendTyping(roomId, true, 30_000);
    await until("bob types", () => typing().includes(bob.user_id));
    await reader.sendTyping(roomId, false, 0);
    await until("bob stopped", () => typing().length === 0);

    const { event_id: eventId } = await speaker.sendTextMessage(roomId, "read me");
    await client.hears(roomId, "read me");
    await reader.setRoomReadMarkersHttpRequest(roomId, undefined, eventId);
    await until("bob's receipt", () => client.room(roomId).hasUserReadEvent(bob.user_id, eventId));

    await speaker.setRoomTag(roomId, "m.favourite", { order: 0.25 });
    await until("the tag", () => client.room(roomId).tags["m.favourite"]?.order === 0.25);
    await speaker.deleteRoomTag(roomId, "m.favourite");
    await until("no tag", () => client.room(roomId).tags["m.favourite"] === undefined);
});
