"""Errors of ours while an answer is made: one room, extension or request suffers, and the connection goes on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from syncproxy.connection.room_answers import RoomAnswers
from syncproxy.protocol.request import ExtensionParams
from syncproxy.protocol.response import Answer
from tests.connection.cases import HeldCase
from tests.connection.fakes import Client, listed

ECHO = {"echo": ExtensionParams(enabled=True)}


class RoomTests(HeldCase):
    """The program stumbles on `!b`; the client has it and `!a`."""

    def stumble(self, method: str) -> None:
        """From now on this method of RoomAnswers breaks off at `!b`."""
        whole = getattr(RoomAnswers, method)

        def broken(maker: RoomAnswers, about: Any, *more: Any) -> Any:
            if getattr(about, "due", about).room_id == "!b":
                raise KeyError("a bug")
            return whole(maker, about, *more)

        self.patch(RoomAnswers, method, broken)
        self.addCleanup(self.flushLoggedErrors, KeyError)

    def counted(self, kind: str) -> float:
        return self.stage.metrics.registry.get_sample_value("syncproxy_errors_total", {"kind": kind}) or 0

    def test_others_go_out(self) -> None:
        """Wherever it stumbles, the room is left out, logged and counted, and the other is told."""
        for times, method in enumerate(("want", "draft", "tell"), start=1):
            self.stumble(method)
            told = self.stage.message("!a")
            self.stage.message("!b")
            answer = self.sync()
            self.assertEqual({key: room.timeline_ids for key, room in answer.rooms.items()}, {"!a": [told]}, method)
            self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
            self.assertEqual(self.counted("room"), times)

    def test_not_again_and_again(self) -> None:
        """Until something happens in it the room is not tried again, and the client's request is held."""
        self.stumble("tell")
        self.stage.message("!b")
        self.sync()
        self.held(timeout_s=30)
        self.assertEqual(self.counted("room"), 1)

    def test_tried_when_it_changes(self) -> None:
        """With its next event the client gets what it missed."""
        tell = RoomAnswers.tell
        self.stumble("tell")
        missed = self.stage.message("!b")
        self.sync()
        self.patch(RoomAnswers, "tell", tell)
        following = self.stage.message("!b")
        self.assertEqual(self.sync().rooms["!b"].timeline_ids, [missed, following])

    def test_new_room(self) -> None:
        """So with a room that the client never had: it is initial once it can be made."""
        tell = RoomAnswers.tell
        self.stumble("tell")
        self.client = Client(self.stage, self.stage.conn("d"))
        answer = self.sync(lists=listed())
        self.assertEqual((answer.lists["a"].count, answer.rooms.keys()), (2, {"!a"}))
        held = self.held(timeout_s=30)
        self.stage.clock.advance(30)
        self.received(held)
        self.patch(RoomAnswers, "tell", tell)
        self.stage.message("!b")
        self.assertTrue(self.sync().rooms["!b"].initial)

    def test_reading(self) -> None:
        """A room that cannot be brought into memory does not keep away those that are read along with it."""
        reads, read = self.stage.database, self.stage.database.timelines

        async def broken(bounds: Any, limit: int) -> Any:
            if "!b" in bounds:
                raise KeyError("a bug")
            return await read(bounds, limit)

        self.patch(reads, "timelines", broken)
        self.addCleanup(self.flushLoggedErrors, KeyError)
        self.stage.close_gate("!a", "!b")()
        self.client = Client(self.stage, self.stage.conn("d"))
        self.assertEqual(self.sync(lists=listed()).rooms.keys(), {"!a"})

    def break_encoding(self) -> Callable[[Answer], bytes]:
        """From now on `!b` cannot be encoded; what encoded it before."""
        encode = self.client.notebook.encode

        def broken(answer: Answer) -> bytes:
            if "!b" in answer.rooms:
                raise KeyError("a bug")
            return encode(answer)

        self.patch(self.client.notebook, "encode", broken)
        return encode

    def test_encoding_of_a_room_that_goes(self) -> None:
        """A room that cannot be encoded as it leaves the window is gone, and initial when it comes back."""
        self.sync(lists=listed((0, 0)))
        encode = self.break_encoding()
        self.stage.message("!b")
        self.stage.message("!a")
        self.assertEqual(self.sync().rooms.keys(), {"!a"})
        self.patch(self.client.notebook, "encode", encode)
        self.stage.message("!b")
        self.assertTrue(self.sync().rooms["!b"].initial)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)

    def test_encoding(self) -> None:
        """A room that cannot be encoded is left out of its answer, and told when it changes and can be."""
        encode = self.break_encoding()
        told, missed = self.stage.message("!a"), self.stage.message("!b")
        self.assertEqual({key: room.timeline_ids for key, room in self.sync().rooms.items()}, {"!a": [told]})
        self.patch(self.client.notebook, "encode", encode)
        following = self.stage.message("!b")
        self.assertEqual(self.sync().rooms["!b"].timeline_ids, [missed, following])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)


class RequestTests(HeldCase):
    """What is no room's fault."""

    def test_encoding(self) -> None:
        """If an answer cannot be encoded at all, its request fails; the next gets what it would have had."""
        encode = self.client.notebook.encode

        def broken(answer: Answer) -> bytes:
            raise KeyError("a bug")

        self.patch(self.client.notebook, "encode", broken)
        message = self.stage.message("!a")
        # both rooms cannot be encoded, nor can what is left
        self.failureResultOf(self.client.send(), KeyError)
        self.flushLoggedErrors(KeyError)
        self.patch(self.client.notebook, "encode", encode)
        self.assertEqual(self.sync().rooms["!a"].timeline_ids, [message])

    def test_extension(self) -> None:
        """An extension on which the program stumbles is left out; rooms are told."""
        self.sync(extensions=ECHO)
        self.echo.problem = KeyError("a bug")
        message = self.stage.message("!a")
        answer = self.sync()
        self.assertEqual((answer.rooms["!a"].timeline_ids, answer.extensions), ([message], {}))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.echo.problem = None
        self.assertIn("echo", self.sync().extensions)
