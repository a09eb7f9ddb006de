// Set up as Element Web is: the proxy by its well-known document, all spaces, all rooms, the sections of its room list.
import { element, supports } from "./element.mjs";
import { assertEqual, clientFor, config, scenario, until } from "./lib.mjs";

const rooms = config.rooms;
const UNTAGGED = { is_dm: false, is_invite: false, not_room_types: ["m.space"], not_tags: ["m.favourite"] };

await scenario(async ({ alice }) => {
    const owner = clientFor(alice);
    await owner.setRoomTag(rooms.plain[5], "m.favourite", { order: 0.5 });
    await owner.setAccountData("m.direct", rooms.direct);

    let spidering;
    const { client, manager } = await element(alice, async (manager, client) => {
        await manager.checkSupport(client);
        assertEqual(supports(), true, "the proxy is found");
        const startSpidering = manager.startSpidering.bind(manager);
        manager.startSpidering = (...args) => (spidering = startSpidering(...args));
        await manager.setup(client);
    });
    assertEqual(client.sliding.proxyBaseUrl, config.proxy, "where it syncs");
    await spidering;
    assertEqual(client.order("search_list"), rooms.newest_first, "all rooms");

    const childEvents = (space) => client.room(space).currentState.getStateEvents("m.space.child");
    const children = (space) => childEvents(space).map((event) => event.getStateKey());
    assertEqual(client.order("space_list").sort(), Object.keys(rooms.spaces).sort(), "the spaces");
    for (const [space, inside] of Object.entries(rooms.spaces)) {
        assertEqual(client.room(space).isSpaceRoom(), true, "is a space");
        assertEqual(children(space).sort(), [...inside].sort(), "children");
    }
    const { room_id: club } = await owner.createRoom({ name: "Club", creation_content: { type: "m.space" } });
    await until("a new space", () => client.room(club)?.isSpaceRoom());
    await owner.sendStateEvent(club, "m.space.child", { via: ["hs.test"] }, rooms.plain[9]);
    await until("its child", () => children(club).includes(rooms.plain[9]));
    assertEqual(client.sliding.getListData("space_list").joinedCount, 3, "count of spaces");

    /** A section of the room list; its rooms when they have come. */
    async function section(key, update) {
        await manager.ensureListRegistered(key, update);
        return client.order(key);
    }
    assertEqual(await section("m.favourite", { filters: { tags: ["m.favourite"] } }), [rooms.plain[5]], "favourites");
    assertEqual(await section("invite", { filters: { is_invite: true } }), [rooms.invite], "invites");
    const people = await section("dm", { filters: { is_dm: true, is_invite: false, not_tags: ["m.favourite"] } });
    assertEqual(people.sort(), Object.values(rooms.direct).flat().sort(), "people");
    const plain = rooms.noisy_first.filter(
        (roomId) => ![rooms.plain[5], rooms.invite, ...Object.values(rooms.direct).flat()].includes(roomId),
    );
    assertEqual(await section("untagged", { filters: UNTAGGED }), plain.slice(0, 21), "the rest");
    assertEqual(await section("untagged", { ranges: [[0, 40]] }), plain.slice(0, 41), "the rest, farther down");
    const [family] = Object.keys(rooms.spaces);
    const inSpace = plain.filter((roomId) => rooms.spaces[family].includes(roomId));
    assertEqual(await section("untagged", { filters: { ...UNTAGGED, spaces: [family] } }), inSpace, "of one space");
    assertEqual(client.events(plain[0]).length, 1, "events of a room that is shown");

    await owner.leave(club);
    await until("the space gone", () => client.sliding.getListData("space_list").joinedCount === 2);
});
