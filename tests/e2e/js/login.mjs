// A user logs in with a password and syncs; when the token is revoked, syncing ends with an error.
import { assertEqual, clientFor, config, createRoom, scenario, sdk, syncing, until } from "./lib.mjs";

await scenario(async ({ alice }) => {
    const login = await sdk
        .createClient({ baseUrl: config.homeserver })
        .loginRequest({ type: "m.login.password", user: alice.user_id, password: alice.password });
    const client = await syncing({ ...login, user_id: alice.user_id });
    assertEqual(client.states.slice(0, 2), ["PREPARED", "SYNCING"], "sync states");
    assertEqual(client.order(), [], "rooms of a new user");

    const roomId = await createRoom(clientFor(alice), "Made by the other device");
    await until("the first room", () => client.room(roomId)?.name === "Made by the other device");

    await clientFor({ ...login, user_id: alice.user_id }).logout();
    await until("the sync ended", () => client.states.includes("ERROR"));
    client.errors.length = 0;
});
