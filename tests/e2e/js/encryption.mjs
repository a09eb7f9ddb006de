// Two rust-crypto clients exchange encrypted messages through the proxy; a new device is learnt of and takes part.
import { assertEqual, createRoom, encrypting, loggedIn, scenario, until } from "./lib.mjs";

const ENCRYPTED = {
    initial_state: [
        { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } },
    ],
};

/** Wait until a client can read a message; the clear text. */
async function reads(client, roomId, body) {
    await until(`${client.client.getDeviceId()} reads ${body}`, async () => {
        for (const event of client.events(roomId)) {
            if (event.isEncrypted() && event.getClearContent()?.body === undefined) {
                await client.client.decryptEventIfNeeded(event, { isRetry: true });
            }
        }
        return client.events(roomId).find((event) => event.isEncrypted() && event.getClearContent()?.body === body);
    });
}

await scenario(async ({ alice, bob }) => {
    const [one, other] = [await encrypting(alice), await encrypting(bob)];
    const roomId = await createRoom(one.client, "Secret", ENCRYPTED);
    await other.client.joinRoom(roomId);
    for (const client of [one, other]) {
        await until("encryption", () => client.client.getCrypto().isEncryptionEnabledInRoom(roomId));
    }
    await until("alice sees bob", () => one.room(roomId).getMember(bob.user_id)?.membership === "join");

    await one.client.sendTextMessage(roomId, "can you read this");
    await reads(other, roomId, "can you read this");
    await other.client.sendTextMessage(roomId, "yes");
    await reads(one, roomId, "yes");
    const onTheWire = one.events(roomId).filter((event) => event.getWireType() === "m.room.message");
    assertEqual(onTheWire.length, 0, "messages in the clear");

    const login = await loggedIn(bob);
    const laptop = await encrypting(login);
    await until("alice learns of the laptop", async () => {
        const devices = await one.client.getCrypto().getUserDeviceInfo([bob.user_id]);
        return devices.get(bob.user_id)?.has(login.device_id);
    });
    await until("the room on the laptop", () => laptop.client.getCrypto().isEncryptionEnabledInRoom(roomId));
    await one.client.sendTextMessage(roomId, "welcome, laptop");
    await reads(laptop, roomId, "welcome, laptop");
    await reads(other, roomId, "welcome, laptop");
    await laptop.client.sendTextMessage(roomId, "from the laptop");
    for (const client of [one, other]) await reads(client, roomId, "from the laptop");
});
