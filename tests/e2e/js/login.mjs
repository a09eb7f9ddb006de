// A user logs in with a password and syncs; when the token is revoked, syncing ends with an error.
import { assertEqual, clientFor, createRoom, loggedIn, scenario, syncing, until } from "./lib.mjs";

await scenario(async ({ alice }) => {
    const login = await loggedIn(alice);
    const client = await syncing(login);
    assertEqual(client.states.slice(0, 2), ["PREPARED", "SYNCING"], "sync states");
    assertEqual(client.order(), [], "rooms of a new user");

    const roomId = await createRoom(clientFor(alice), "Made by the other device");
    await until("the first room", () => client.room(roomId)?.name === "Made by the other device");

    await clientFor(login).logout();
    await until("the sync ended", () => client.states.includes("ERROR"));
    client.errors.length = 0;
});
