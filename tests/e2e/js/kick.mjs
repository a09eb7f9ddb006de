// Who is kicked is told so, loses the room from the list, and hears nothing more of it.
import { assertEqual, clientFor, createRoom, scenario, syncing, until } from "./lib.mjs";

await scenario(async ({ alice, bob }) => {
    const owner = clientFor(alice);
    const [kept, lost] = [await createRoom(owner, "Kept"), await createRoom(owner, "Lost")];
    for (const roomId of [kept, lost]) await clientFor(bob).joinRoom(roomId);
    const client = await syncing(bob);
    assertEqual(client.order(), [lost, kept], "list before");

    await owner.kick(lost, bob.user_id, "enough");
    const isKick = (event) => event.getStateKey() === bob.user_id && event.getContent().membership === "leave";
    await until("the kick", () => client.events(lost).some(isKick));
    await until("the room gone", () => !client.order().includes(lost));
    assertEqual(client.sliding.getListData("all").joinedCount, 1, "count");

    await owner.sendTextMessage(lost, "he is gone");
    await owner.sendTextMessage(kept, "still here");
    await client.hears(kept, "still here");
    assertEqual(client.bodies(lost), [], "what is heard from the lost room");
});
