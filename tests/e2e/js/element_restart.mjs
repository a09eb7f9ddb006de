// The proxy is restarted while people talk: the manager is told M_UNKNOWN_POS, starts over, and has everything.
import { element } from "./element.mjs";
import { ask, assertEqual, clientFor, config, scenario, until } from "./lib.mjs";

const rooms = config.rooms;

await scenario(async ({ alice, bob }) => {
    const roomId = rooms.plain[30];
    const other = clientFor(bob);
    await other.joinRoom(roomId);
    const { client, manager } = await element(alice, (manager, client) => manager.configure(client, config.proxy));
    await manager.startSpidering(100, 0);
    await manager.setRoomVisible(roomId, true);
    await other.sendTextMessage(roomId, "before");
    await client.hears(roomId, "before");

    await ask("stop");
    await other.sendTextMessage(roomId, "meanwhile");
    await clientFor(alice).sendTextMessage(rooms.plain[31], "top");
    await ask("start");
    await client.hears(roomId, "meanwhile");
    const moved = [rooms.plain[31], roomId];
    const expected = [...moved, ...rooms.newest_first.filter((other) => !moved.includes(other))];
    await until("the order", () => JSON.stringify(client.order("search_list")) === JSON.stringify(expected));
    assertEqual(client.errors.filter((text) => text.includes("M_UNKNOWN_POS")).length, 1, "starts over, once");
    client.errors.length = 0;

    await other.sendTextMessage(roomId, "after");
    await client.hears(roomId, "after");
    assertEqual(client.bodies(roomId), ["before", "meanwhile", "after"], "the room that is open");
    assertEqual(Object.keys(rooms.spaces).every((space) => client.room(space)?.isSpaceRoom()), true, "the spaces");
});
