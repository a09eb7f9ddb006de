"""Device-list changes for a device that had a `since` and polls without one: such an answer brings none."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from twisted.logger import Logger

from syncproxy.homeserver.client import HomeserverClient, HomeserverError, HomeserverUnreachable
from syncproxy.homeserver.repairs import UNSOUND
from syncproxy.rooms.answers import JoinedRoom, PollAnswer
from syncproxy.storage.reader import Reader
from syncproxy.v2.access_tokens import AccessToken
from syncproxy.v2.sections import storable_ids

#: members of encrypted rooms that are taken for changed at the most
_MOST_USERS = 20_000


class _Changes(msgspec.Struct):
    changed: list[str] | None = None
    left: list[str] | None = None


class DeviceLists:
    """Completes answers with the device-list changes that they lack."""

    _log = Logger(namespace="syncproxy")

    def __init__(self, client: HomeserverClient, reader: Reader) -> None:
        self._client = client
        self._reader = reader

    async def completed(self, answer: PollAnswer, token: AccessToken, given_up: str) -> PollAnswer:
        """The answer with the changes from `given_up`, the old `since`, to its `next_batch`.

        If the homeserver does not tell them, all known members of the user's encrypted rooms count as changed. Raises
        what the reader raises.
        """
        changes = await self._told(answer, token, given_up) if given_up and answer.next_batch else None
        if changes is None:
            known = await self._reader.users_of_encrypted_rooms(answer.device.user_id, _MOST_USERS)
            named = (user for room in answer.joined for user in _members(room))
            changes = _Changes(sorted({answer.device.user_id, *known, *named}))
        return msgspec.structs.replace(
            answer, device_lists_changed=storable_ids(changes.changed), device_lists_left=storable_ids(changes.left)
        )

    async def _told(self, answer: PollAnswer, token: AccessToken, given_up: str) -> _Changes | None:
        try:
            body = await self._client.keys_changes(token.secret, since=given_up, until=answer.next_batch or "")
            return msgspec.json.decode(body, type=_Changes)
        except (HomeserverError, HomeserverUnreachable, *UNSOUND) as problem:
            self._log.warn(
                "Device-list changes of {user} {device} are not to be had, all members count as changed: {problem}",
                user=answer.device.user_id,
                device=answer.device.device_id,
                problem=str(problem),
            )
            return None


def _members(room: JoinedRoom) -> Iterator[str]:
    """The members that the answer names of an encrypted room."""
    events = (*room.state, *room.timeline.events)
    if any(event.type == "m.room.encryption" and event.state_key == "" for event in events):
        for event in events:
            if event.type == "m.room.member" and event.state_key is not None and event.membership in ("join", "invite"):
                yield event.state_key
