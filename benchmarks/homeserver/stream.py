"""What the stand-in's `/sync` answers: pure, positions and all (Client-Server API v1.11, with Synapse's ways)."""

from __future__ import annotations

from functools import lru_cache

import attrs
import orjson

from benchmarks.homeserver.world import Message, Room, User, World

_KEYS = (
    b'"device_one_time_keys_count":{"signed_curve25519":50},"device_unused_fallback_key_types":["signed_curve25519"],'
    b'"org.matrix.msc2732.device_unused_fallback_key_types":["signed_curve25519"]'
)


class BadToken(Exception):
    """A `since` that this stand-in never gave, or whose news are gone."""


@attrs.frozen
class News:
    """An event that a device has not been told of. `unread` is the room's count with it."""

    position: int
    room: Room
    message: Message
    unread: int
    is_join: bool = False


@attrs.define
class Inbox:
    """A device's news after `since`, oldest first: what came before was acknowledged and is gone."""

    since: int = 0
    news: list[News] = attrs.field(factory=list)


@attrs.frozen
class Wanted:
    """What a filter asks for."""

    limit: int = 10
    no_rooms: bool = False


@lru_cache(maxsize=256)
def read_filter(text: str) -> Wanted:
    """The parts of a filter that are obeyed."""
    room = orjson.loads(text or "{}").get("room", {})
    return Wanted(room.get("timeline", {}).get("limit", 10), room.get("rooms") == [])


class Stream:
    """The homeserver's stream: events get positions, and devices hear of those after their `since`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.position = 1
        self._inboxes: dict[User, Inbox] = {}

    def send(self, room: Room, now_ms: int) -> str:
        """A message in a room, for all local users who sync; its id."""
        return self._told(room, self.world.say(room, now_ms), is_join=False)

    def join(self, room: Room, now_ms: int) -> str:
        """Somebody joins a room, and all local users who sync hear of it; the event's id."""
        return self._told(room, self.world.join(room, now_ms), is_join=True)

    def _told(self, room: Room, message: Message, *, is_join: bool) -> str:
        self.position += 1
        news = News(self.position, room, message, room.sent, is_join)
        for user in room.locals:
            inbox = self._inboxes.get(user)
            if inbox is not None:
                inbox.news.append(news)
        return message.event_id

    def acknowledge(self, user: User, since: str | None) -> bool:
        """Take a request's `since`; whether there is something to answer at once. Raises BadToken."""
        if since is None:
            self._inboxes[user] = Inbox(self.position)
            return True
        inbox, position = self._inboxes.get(user), _position(since)
        if inbox is None or not inbox.since <= position <= self.position:
            raise BadToken(since)
        inbox.since = position
        keep = next((i for i, news in enumerate(inbox.news) if news.position > position), len(inbox.news))
        del inbox.news[:keep]
        return bool(inbox.news)

    def pending(self, user: User) -> list[News]:
        """What the next answer brings."""
        inbox = self._inboxes.get(user)
        return [] if inbox is None else inbox.news

    def first_answer(self, user: User, wanted: Wanted) -> list[bytes]:
        """The answer without `since`, in chunks."""
        rooms = [] if wanted.no_rooms else user.rooms
        chunks = [b'{"account_data":{"events":[', self._direct(user), b']},"rooms":{"join":{']
        for index, room in enumerate(rooms):
            chunks += (b',"' if index else b'"', room.room_id.encode(), b'":', self._whole_room(user, room, wanted))
        chunks.append(b'}},"next_batch":"s%d",%b}' % (self.position, _KEYS))
        return chunks

    def answer(self, user: User, wanted: Wanted) -> bytes:
        """The answer to the `since` that was acknowledged last."""
        by_room: dict[Room, list[News]] = {}
        for news in self.pending(user):
            by_room.setdefault(news.room, []).append(news)
        if not by_room:
            return b'{"next_batch":"s%d",%b}' % (self.position, _KEYS)
        rooms = b",".join(
            b'"%b":%b' % (room.room_id.encode(), self._room_news(room, news, wanted)) for room, news in by_room.items()
        )
        return b'{"rooms":{"join":{%b}},"next_batch":"s%d",%b}' % (rooms, self.position, _KEYS)

    def repeat(self, room: Room) -> bytes:
        """An answer that says again what was said last in the room, and who the sender is."""
        newest = room.timeline[-1]
        state = [self.world.member(room, orjson.loads(newest)["sender"])]
        block = _room_block([newest], False, self.position - 1, state, b"", b"{}", room.sent)
        return b'{"rooms":{"join":{"%b":%b}},"next_batch":"s%d",%b}' % (
            room.room_id.encode(), block, self.position, _KEYS,
        )  # fmt: skip

    def _room_news(self, room: Room, news: list[News], wanted: Wanted) -> bytes:
        """A joined room with new events, and their senders' member events: redundant ones, as Synapse sends them."""
        kept = news[-wanted.limit :]
        # who joined is in the timeline
        senders = {one.message.sender: None for one in kept if not one.is_join}
        state = [self.world.member(room, sender) for sender in senders]
        before = kept[0].position - 1
        events, limited = [one.message.event for one in kept], len(kept) < len(news)
        moved = any(one.is_join for one in news)
        summary = b'{"m.joined_member_count":%d}' % room.joined_count if moved else b"{}"
        return _room_block(events, limited, before, state, b"", summary, news[-1].unread)

    def _whole_room(self, user: User, room: Room, wanted: Wanted) -> bytes:
        """A joined room as in a first answer."""
        limit = min(wanted.limit, len(room.timeline))
        events = list(room.timeline)[len(room.timeline) - limit :]
        senders = [orjson.loads(event)["sender"] for event in events]
        heroes = [room.remote(index) for index in range(min(5, room.remotes))]
        shown = [user.user_id, *senders, *(heroes if room.kind == "direct" else ())]
        state = [*self.world.state(room), *(self.world.member(room, who) for who in dict.fromkeys(shown))]
        if room.eager:
            state = [*self.world.state(room), *self.world.members(room)]
        summary = {"m.joined_member_count": room.joined_count, "m.invited_member_count": 0}
        if room.kind == "direct":
            summary["m.heroes"] = heroes  # type: ignore[assignment] # JSON has lists beside numbers
        receipt = _receipt(events, room, senders) if events else b""
        return _room_block(events, True, self.position, state, receipt, orjson.dumps(summary), room.sent)

    @staticmethod
    def _direct(user: User) -> bytes:
        content: dict[str, list[str]] = {}
        for room in user.rooms:
            if room.kind == "direct":
                content.setdefault(room.remote(0), []).append(room.room_id)
        return orjson.dumps({"type": "m.direct", "content": content})


def _position(since: str) -> int:
    if not since.startswith("s") or not since[1:].isdigit():
        raise BadToken(since)
    return int(since[1:])


def _receipt(events: list[bytes], room: Room, senders: list[str]) -> bytes:
    """Who spoke last has read it."""
    newest = orjson.loads(events[-1])["event_id"]
    read = {newest: {"m.read": {senders[-1]: {"ts": room.active_ms, "thread_id": "main"}}}}
    return orjson.dumps({"type": "m.receipt", "content": read})


def _room_block(
    events: list[bytes], limited: bool, before: int, state: list[bytes], ephemeral: bytes, summary: bytes, unread: int
) -> bytes:
    return (
        b'{"timeline":{"events":[%b],"limited":%b,"prev_batch":"t%d"},"state":{"events":[%b]},"account_data":'
        b'{"events":[]},"ephemeral":{"events":[%b]},"unread_notifications":{"notification_count":%d,'
        b'"highlight_count":0},"unread_thread_notifications":{},"summary":%b}'
        % (b",".join(events), b"true" if limited else b"false", before, b",".join(state), ephemeral, unread, summary)
    )
