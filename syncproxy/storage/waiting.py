"""What waits to be stored: as it came, and of long answers some slices between the batches of the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

import attrs
from twisted.internet.defer import Deferred

from syncproxy.rooms.answers import Answer, PollAnswer
from syncproxy.storage.slices import FEW_EVENTS, MOST_BYTES, MOST_EVENTS, Part, Slice, parts_of
from syncproxy.storage.work import Work

#: so many slices of long answers are small ones after others had something to store
_SMALL_ONES = 8
_NO_NAMES: frozenset[str] = frozenset()


@attrs.define(eq=False)
class Item:
    """Something that waits to be stored; `slices` are what is left of an answer, once it is `cut`.

    `may_skip`: the answer, if it may be told without being stored. `may_wait`: it needs no batch of its own yet.
    `taken`: how many of its slices the next batch has.
    """

    done: Deferred[None]
    answer: Answer | None = None
    work: Work | None = None
    may_skip: PollAnswer | None = None
    may_wait: bool = False
    slices: deque[Part] = attrs.field(factory=deque)
    taken: int = 1

    def cut(self) -> None:
        """Cut the answer into slices, if it is not yet: 20 ms for one of 50,000 events."""
        if self.answer is not None:
            self.slices.extend(parts_of(self.answer))
            self.answer = None

    @property
    def is_long(self) -> bool:
        """Whether it is more than what others can wait for: more than a slice, or a large one."""
        return len(self.slices) > 1 or self.events > FEW_EVENTS

    @property
    def parts(self) -> Sequence[Part]:
        """The slices that the next batch has."""
        return list(islice(self.slices, self.taken))

    @property
    def events(self) -> int:
        """Those of its next slice."""
        return self.slices[0].events if self.slices else 0

    @property
    def size(self) -> int:
        """Bytes of its next slice."""
        return self.slices[0].size if self.slices else 0

    @property
    def names(self) -> frozenset[str]:
        """Whose answer it is, and the rooms that it is about: what comes later of these is told later."""
        if not self.slices:
            return _NO_NAMES
        part = self.slices[0]
        return part.room_ids | {part.answer.device.user_id} if isinstance(part, Slice) else part.room_ids

    def take(self, most_events: int) -> None:
        """The next batch has so many of its slices, of so many events at the most; one in any case."""
        self.taken, events, size = 1, self.events, self.size
        for part in islice(self.slices, 1, None):
            events, size = events + part.events, size + part.size
            if events > most_events or size > MOST_BYTES:
                break
            self.taken += 1

    def after(self, most_events: int) -> Sequence[Part]:
        """What it would `take` when what is taken now is stored."""
        left = Item(self.done, slices=deque(islice(self.slices, self.taken, None)))
        left.take(most_events)
        return left.parts

    def stored(self) -> None:
        """What was taken is stored."""
        for _ in self.parts:
            self.slices.popleft()
        self.taken = 1

    def fail(self, problem: Exception) -> None:
        """Tell who waits for it, unless nobody does any more."""
        if not self.done.called:
            self.done.errback(problem)


class Waiting:
    """The writer's queue. Long answers come to their beginning in turn, and then between the batches of others.

    While others have something to store, what is stored of a long answer at a time is small.

    What may wait rides behind what cannot, in the same batch if there is room.
    """

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        #: long answers of which something is stored
        self._begun: deque[Item] = deque()
        #: whether one of them is next
        self._is_their_turn = False
        #: how many of the items come before all others, those that were begun too
        self._before_all = 0
        self._small_ones = 0
        #: what may wait
        self._riders: deque[Item] = deque()
        #: whether there are riders that have waited for long enough, and are to have a batch
        self._are_late = False

    def __len__(self) -> int:
        return len(self._items) + len(self._begun) + len(self._riders)

    def __contains__(self, item: object) -> bool:
        return item in self._items or item in self._begun

    @property
    def is_urgent(self) -> bool:
        """Whether there is something that needs a batch."""
        return bool(self._begun or self._items or self._are_late)

    @property
    def first(self) -> Item | None:
        """The first of those that come in turn."""
        return self._items[0] if self._items else None

    def append(self, item: Item) -> None:
        """It came last."""
        (self._riders if item.may_wait else self._items).append(item)

    def hurry(self) -> None:
        """What may wait, and found no batch to ride in, has waited for long enough."""
        self._are_late = bool(self._riders)

    def take_riders(self, most: int) -> list[Item]:
        """As many of what may wait as a batch has room for."""
        taken = [self._riders.popleft() for _ in range(min(most, len(self._riders)))]
        self._are_late = self._are_late and bool(self._riders)
        self._is_their_turn = self._is_their_turn or bool(taken)
        return taken

    def appendleft(self, item: Item) -> None:
        """It comes before all others, also before what is left of those that were begun."""
        self._items.appendleft(item)
        self._before_all += 1

    def popleft(self) -> Item:
        """Take the first of those that come in turn."""
        self._is_their_turn = True
        self._before_all = max(self._before_all - 1, 0)
        return self._items.popleft()

    def again(self, item: Item) -> None:
        """Some of its slices are left."""
        self._begun.append(item)

    def next_begun(self) -> Item | None:
        """Take a long answer that was begun, if one is next."""
        if not self._begun or self._before_all or ((self._items or self._riders) and not self._is_their_turn):
            return None
        item = self._begun.popleft()
        self.take_slices(item)
        return item

    def take_slices(self, item: Item) -> None:
        """As much of a long answer as others can wait for."""
        self._is_their_turn = False
        item.take(FEW_EVENTS if self._small_ones else MOST_EVENTS)
        self._small_ones = max(self._small_ones - 1, 0)

    def upcoming(self, item: Item) -> Sequence[Part]:
        """What of an item that was taken comes next if nothing else does; none where others have something to store."""
        return [] if self._items or self._begun or self._small_ones else item.after(MOST_EVENTS)

    def others_took(self) -> None:
        """A batch was taken that has answers, none of them long."""
        self._small_ones = _SMALL_ONES

    def clear(self) -> list[Item]:
        """Take all."""
        left = [*self._items, *self._begun, *self._riders]
        for items in (self._items, self._begun, self._riders):
            items.clear()
        self._before_all, self._are_late = 0, False
        return left
