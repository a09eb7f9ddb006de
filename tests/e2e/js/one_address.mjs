// The proxy is the only server that a client knows: login, media, profile, and what was said before go through it.
import { ALL_ROOMS, assertEqual, clientFor, config, createRoom } from "./lib.mjs";
import { loggedIn, scenario, sdk, syncing, until } from "./lib.mjs";

const LISTS = { all: { ...ALL_ROOMS, timeline_limit: 1 } };
const SIMPLIFIED = "org.matrix.simplified_msc3575";
const PICTURE = "picture ".repeat(100_000);

await scenario(async ({ alice, bob }) => {
    assertEqual(config.homeserver, config.proxy, "the server");
    const client = await syncing(await loggedIn(alice), LISTS);
    assertEqual(await client.client.doesServerSupportUnstableFeature(SIMPLIFIED), true, "is said to be served");

    const roomId = await createRoom(client.client, "Kitchen");
    const other = clientFor(bob);
    await other.joinRoom(roomId);
    const { content_uri: uri } = await other.uploadContent(PICTURE, { type: "text/plain", name: "picture" });
    await other.sendMessage(roomId, { msgtype: sdk.MsgType.Image, body: "look", url: uri });
    await client.hears(roomId, "look");
    const url = client.client.mxcUrlToHttp(uri, undefined, undefined, undefined, false, true, true);
    assertEqual(new URL(url).origin, new URL(config.proxy).origin, "where media come from");
    const media = await fetch(url, { headers: { Authorization: `Bearer ${client.client.getAccessToken()}` } });
    assertEqual((await media.text()) === PICTURE, true, "the picture is whole");

    await other.setDisplayName("Robert");
    await until("the new name", () => client.room(roomId).getMember(bob.user_id)?.name === "Robert");

    const reader = await syncing(alice, LISTS);
    await until("the room", () => reader.room(roomId));
    assertEqual(reader.events(roomId).length, 1, "events at first");
    await reader.client.scrollback(reader.room(roomId), 50);
    assertEqual(reader.bodies(roomId), ["look"], "what was said before");
    assertEqual(reader.events(roomId)[0].getType(), "m.room.create", "the first event");
});
