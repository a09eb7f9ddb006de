// MSC4186: an invite comes with the room's name; joined, the room is live.
import { assertEqual, clientFor, createRoom, scenario, syncing, until } from "./lib.mjs";

await scenario(async ({ alice, bob }) => {
    const owner = clientFor(alice);
    const client = await syncing(bob);
    const roomId = await createRoom(owner, "Party", { preset: "private_chat" });
    await owner.sendTextMessage(roomId, "before you came");
    await owner.invite(roomId, bob.user_id);
    await until("the invite", () => client.room(roomId)?.getMyMembership() === "invite");
    assertEqual(client.room(roomId).name, "Party", "name of the invite");

    await client.client.joinRoom(roomId);
    await until("the join", () => client.room(roomId).getMyMembership() === "join");
    await owner.sendTextMessage(roomId, "welcome");
    await client.hears(roomId, "welcome");
    assertEqual(client.room(roomId).getJoinedMemberCount(), 2, "joined members");

    const refused = await createRoom(owner, "Boring");
    await owner.invite(refused, bob.user_id);
    await until("the second invite", () => client.room(refused)?.getMyMembership() === "invite");
    await client.client.leave(refused);
    await until("the refused invite gone", () => client.room(refused).getMyMembership() === "leave");
});
