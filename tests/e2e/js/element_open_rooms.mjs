// Rooms are opened: an unknown one, plain ones, an encrypted one, one that replaced another; and closed again.
import { element } from "./element.mjs";
import { assertEqual, clientFor, config, scenario, until } from "./lib.mjs";

const rooms = config.rooms;
const MESSAGES = 60;

await scenario(async ({ alice, bob, carol }) => {
    const [plain, other] = [rooms.plain[20], rooms.plain[21]];
    const [first, second] = [bob, carol].map(clientFor);
    await first.joinRoom(other);
    for (const member of [first, second]) await member.joinRoom(plain);
    const { client, manager } = await element(alice, (manager, client) => manager.configure(client, config.proxy));
    const members = (roomId) => client.room(roomId).getMembers().map((member) => member.userId).sort();
    const everybody = [alice, bob, carol].map((account) => account.user_id).sort();

    await manager.setRoomVisible(other, true);
    for (let number = 0; number < MESSAGES; number++) await first.sendTextMessage(plain, `m${number}`);
    await first.sendTextMessage(other, "said all");
    await client.hears(other, "said all");
    await manager.setRoomVisible(other, false);

    assertEqual(client.room(plain), null, "a room that is not known yet");
    await manager.setRoomVisible(plain, true);
    assertEqual(client.room(plain).name, "Room 20", "the room that was opened");
    const told = Array.from({ length: 50 }, (_, index) => `m${index + MESSAGES - 50}`);
    assertEqual(client.bodies(plain), told, "its newest messages");
    assertEqual(members(plain), everybody, "all members of a room that might be encrypted");
    // closing it, the manager forgets to unsubscribe, for it opened the room before it knew it: so once more; and only
    // for a room that it does not know does it wait until the proxy has taken in what is open
    await manager.setRoomVisible(plain, false);
    await manager.setRoomVisible(plain, true);
    await manager.setRoomVisible(rooms.plain[22], true);
    await manager.setRoomVisible(plain, false);
    await manager.setRoomVisible(other, true);
    await manager.setRoomVisible(rooms.plain[23], true);
    await first.sendTextMessage(plain, "not looked at");
    await first.sendTextMessage(other, "looked at");
    await client.hears(other, "looked at");
    assertEqual(client.bodies(plain), told, "what is heard of a closed room");

    await manager.startSpidering(100, 0);
    await manager.setRoomVisible(rooms.crowded, true);
    await client.hears(rooms.crowded, "hello");
    const levels = client.room(rooms.crowded).currentState.getStateEvents("m.room.power_levels", "");
    assertEqual(levels?.getType(), "m.room.power_levels", "state that only an open room has");
    assertEqual(members(rooms.crowded), [alice.user_id, bob.user_id].sort(), "who is in it, and has spoken");
    await second.sendTextMessage(rooms.crowded, "hello too");
    await client.hears(rooms.crowded, "hello too");
    assertEqual(members(rooms.crowded), everybody, "who has spoken now");

    await manager.setRoomVisible(rooms.secret, true);
    await until("the encrypted room", () => client.events(rooms.secret).length > 0);
    assertEqual(members(rooms.secret), everybody, "all members of the encrypted room");
    assertEqual(client.client.isRoomEncrypted(rooms.secret), true, "is encrypted");

    assertEqual(client.order("search_list").includes(rooms.old), false, "the replaced room in the list");
    await manager.setRoomVisible(rooms.new, true);
    await until("the room that was replaced", () => client.room(rooms.old));
    assertEqual(client.room(rooms.new).findPredecessor().roomId, rooms.old, "its predecessor");
    const grave = client.room(rooms.old).currentState.getStateEvents("m.room.tombstone", "");
    assertEqual(grave.getContent().replacement_room, rooms.new, "what it was replaced by");
});
