// Who is kicked is told so, and hears nothing more of the room; MSC3575 takes it from the list, MSC4186 does not.
import { assertEqual, clientFor, createRoom, loggedIn, scenario, simplified, syncing, until } from "./lib.mjs";

await scenario(async ({ alice, bob }) => {
    const owner = clientFor(alice);
    const [kept, lost] = [await createRoom(owner, "Kept"), await createRoom(owner, "Lost")];
    for (const roomId of [kept, lost]) await clientFor(bob).joinRoom(roomId);
    const client = await syncing(bob);
    assertEqual(client.order(), [lost, kept], "list before");

    await owner.kick(lost, bob.user_id, "enough");
    const isKick = (event) => event.getStateKey() === bob.user_id && event.getContent().membership === "leave";
    await until("the kick", () => client.events(lost).some(isKick));
    const listed = simplified ? [lost, kept] : [kept];
    await until("the list after", () => JSON.stringify(client.order()) === JSON.stringify(listed));
    assertEqual(client.sliding.getListData("all").joinedCount, listed.length, "count");
    assertEqual(client.room(lost).getMyMembership(), "leave", "membership");

    await owner.sendTextMessage(lost, "he is gone");
    await owner.sendTextMessage(kept, "still here");
    await client.hears(kept, "still here");
    assertEqual(client.bodies(lost), [], "what is heard from the lost room");
    assertEqual(client.events(lost).filter(isKick).length, 1, "kicks");

    const fresh = await syncing(await loggedIn(bob));
    assertEqual(fresh.order(), simplified ? [kept, lost] : [kept], "list of a new device");
    if (simplified) {
        assertEqual(fresh.room(lost).getMyMembership(), "leave", "membership on a new device");
        assertEqual(fresh.events(lost).some(isKick), true, "the kick on a new device");
        assertEqual(fresh.bodies(lost), [], "what a new device hears from the lost room");
    }
});
