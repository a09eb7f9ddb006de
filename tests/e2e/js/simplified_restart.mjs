// MSC4186: the proxy is killed; the SDK asks again with the position that it has, and is told what is new only.
import { ask, assertEqual, clientFor, createRoom, scenario, syncing } from "./lib.mjs";

await scenario(async ({ alice, bob }) => {
    const client = await syncing(alice);
    const other = clientFor(bob);
    const [kitchen, garden] = [await createRoom(other, "Kitchen"), await createRoom(other, "Garden")];
    for (const roomId of [kitchen, garden]) {
        await client.client.joinRoom(roomId);
        await other.sendTextMessage(roomId, "before");
        await client.hears(roomId, "before");
    }
    // only what was said before this is sure to be remembered
    await other.sendTextMessage(kitchen, "on");
    await client.hears(kitchen, "on");
    const told = client.answers.length;

    await ask("kill");
    await ask("start");
    await other.sendTextMessage(kitchen, "meanwhile");
    await client.hears(kitchen, "meanwhile");
    await other.sendTextMessage(garden, "after");
    await client.hears(garden, "after");
    assertEqual(client.bodies(kitchen), ["before", "on", "meanwhile"], "the kitchen");
    assertEqual(client.bodies(garden), ["before", "after"], "the garden");
    const since = client.answers.slice(told).flatMap((answer) => Object.values(answer.rooms));
    assertEqual(since.filter((room) => room.initial).length, 0, "rooms that were told anew");
});
