// Unread counts grow with messages and mentions, and fall when the user reads.
import { clientFor, createRoom, scenario, sdk, syncing, until } from "./lib.mjs";

await scenario(async ({ alice, bob }) => {
    const speaker = clientFor(alice);
    const roomId = await createRoom(speaker, "Kitchen");
    const client = await syncing(bob);
    await client.client.joinRoom(roomId);
    await until("the room", () => client.room(roomId)?.getMyMembership() === "join");
    const counts = () =>
        ["total", "highlight"].map((kind) => client.room(roomId).getRoomUnreadNotificationCount(kind));

    await speaker.sendTextMessage(roomId, "hello");
    await until("one unread", () => JSON.stringify(counts()) === "[1,0]");
    await speaker.sendMessage(roomId, {
        "msgtype": sdk.MsgType.Text,
        "body": "you there",
        "m.mentions": { user_ids: [bob.user_id] },
    });
    await until("two unread, one highlight", () => JSON.stringify(counts()) === "[2,1]");
    await client.hears(roomId, "you there");

    await client.client.sendReadReceipt(client.events(roomId).at(-1));
    await until("nothing unread", () => JSON.stringify(counts()) === "[0,0]");
});
