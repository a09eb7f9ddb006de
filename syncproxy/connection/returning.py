"""What a client missed of a room that it was sent and then did not see for a while (spec/msc4186.md)."""

from __future__ import annotations

from syncproxy.caches.updates import Mark
from syncproxy.caches.user_cache import UserCache
from syncproxy.connection.sent import SentRoom

_ALL = Mark.TIMELINE | Mark.STATE | Mark.SUMMARY | Mark.COUNTS | Mark.MEMBERSHIP


def missed_of(user: UserCache, device_id: str, room_id: str, sent: SentRoom) -> Mark:
    """What may be new in the room; nothing if it is as it was sent."""
    row = user.room(room_id)
    if row is None:
        return Mark(0)
    if not sent.is_of(row):
        return _ALL
    view = user.view(room_id, device_id)
    mark = Mark(0)
    if view is not None and view.to_nid > sent.up_to:
        mark |= Mark.TIMELINE | Mark.STATE | Mark.SUMMARY
    if (row.notification_count, row.highlight_count) != (sent.notification_count, sent.highlight_count):
        mark |= Mark.COUNTS
    if user.is_direct(room_id) != sent.is_dm:
        mark |= Mark.SUMMARY
    return mark
