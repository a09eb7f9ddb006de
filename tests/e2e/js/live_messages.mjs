// Two clients talk: each message arrives once with both, also with the one that sent it.
import { assertEqual, createRoom, scenario, syncing, until } from "./lib.mjs";

await scenario(async ({ alice, bob }) => {
    const [one, other] = [await syncing(alice), await syncing(bob)];
    const roomId = await createRoom(one.client, "Kitchen");
    await other.client.joinRoom(roomId);
    for (const client of [one, other]) await until("the room", () => client.room(roomId));

    const spoken = [];
    for (let i = 0; i < 5; i++) {
        for (const speaker of [one, other]) {
            const text = `${speaker.client.getUserId()} says ${i}`;
            await speaker.client.sendTextMessage(roomId, text);
            spoken.push(text);
            // a local echo stands where it was made: in an order that both share only if nobody talks over the other
            for (const client of [one, other]) await client.hears(roomId, text);
        }
    }
    for (const client of [one, other]) {
        await client.hears(roomId, spoken.at(-1));
        // what was heard last may be the local echo, until the message itself takes its place
        await until("no local echo", () => client.events(roomId).every((event) => event.status === null));
        assertEqual(client.bodies(roomId), spoken, `messages of ${client.client.getUserId()}`);
    }
});
