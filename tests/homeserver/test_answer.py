"""Answers of HTTP/1.1, read as they come."""

from __future__ import annotations

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.homeserver.answer import MOST_OF_AN_ERROR, Answer, AnswerReader, NoAnswer
from syncproxy.homeserver.bodies import BodyTooLarge

MOST = 1000
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
OK = Answer(200, None, b"{}")


def chunked(body: bytes, status: bytes = b"200 OK", more: bytes = b"") -> bytes:
    """An answer in chunks."""
    return b"HTTP/1.1 %b\r\n%bTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (status, more, len(body), body)


def sized(body: bytes, status: bytes = b"200 OK", more: bytes = b"") -> bytes:
    """An answer that says its length."""
    return b"HTTP/1.1 %b\r\n%bContent-Length: %d\r\n\r\n%b" % (status, more, len(body), body)


class ReaderCase(SynchronousTestCase):
    """A reader that expects an answer."""

    def setUp(self) -> None:
        """Begin."""
        self.reader = AnswerReader()
        self.reader.begin(MOST)

    def fails(self, data: bytes, problem: type[Exception] = NoAnswer) -> None:
        """See that this is no answer, and does not become one."""
        reader = AnswerReader()
        reader.begin(MOST)
        with self.assertRaises(problem) as caught:
            reader.received(data)
        self.assertIsNone(caught.exception.__cause__)


class AnswerTests(ReaderCase):
    """What is an answer."""

    def test_kept(self) -> None:
        """With its last byte the answer is there, and the next one can come on the same connection."""
        for data in (PLAIN, chunked(b"{}"), sized(b"{}", more=b"Connection: keep-alive\r\n")):
            self.reader.begin(MOST)
            self.assertEqual((self.reader.received(data), self.reader.keeps), (OK, True))

    def test_not_kept(self) -> None:
        """A homeserver that wants to close the connection says so, or speaks HTTP/1.0."""
        for data in (sized(b"{}", more=b"Connection: close\r\n"), PLAIN.replace(b"1.1", b"1.0")):
            reader = AnswerReader()
            reader.begin(MOST)
            self.assertEqual((reader.received(data), reader.keeps), (OK, False))

    @given(st.data(), st.sampled_from(["sized", "chunked", "packed", "interim"]))
    def test_pieces(self, data: st.DataObject, kind: str) -> None:
        """Whatever the pieces are that it comes in, the answer is the same."""
        packed = gzip.compress(b"{}", mtime=0)
        come = {
            "sized": PLAIN,
            "chunked": chunked(b"{}"),
            "packed": chunked(packed, more=b"Content-Encoding: gzip\r\n"),
            "interim": b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN,
        }[kind]
        cuts = sorted(data.draw(st.sets(st.integers(1, len(come) - 1), max_size=6)))
        reader = AnswerReader()
        reader.begin(MOST)
        answers = [reader.received(come[a:b]) for a, b in zip([0, *cuts], [*cuts, len(come)], strict=True)]
        self.assertEqual(answers, [None] * len(cuts) + [OK])
        self.assertTrue(reader.keeps)

    def test_error(self) -> None:
        """Status, wait and body of an error."""
        data = sized(b"slow", b"429 Too Many Requests", b"rEtry-after: 9\r\n")
        self.assertEqual(self.reader.received(data), Answer(429, "9", b"slow"))
        self.reader.begin(MOST)
        self.assertEqual(self.reader.received(PLAIN), OK)

    def test_no_body(self) -> None:
        """Some answers have no body."""
        self.assertEqual(self.reader.received(b"HTTP/1.1 204 No Content\r\n\r\n"), Answer(204, None, b""))

    def test_interim(self) -> None:
        """What only tells to wait for the answer is not the answer, and leaves nothing behind."""
        self.assertIsNone(self.reader.received(b"HTTP/1.1 103 Early Hints\r\nRetry-After: 9\r\n\r\n"))
        self.assertEqual(self.reader.received(PLAIN), OK)

    def test_end_of_connection(self) -> None:
        """A body that does not say its length ends with the connection, any other does not."""
        self.assertIsNone(self.reader.received(b"HTTP/1.1 200 OK\r\n\r\n{"))
        self.assertIsNone(self.reader.received(b"}"))
        self.assertEqual((self.reader.ended(), self.reader.keeps), (OK, False))
        for data in (b"", b"HTTP/1.1 200 OK\r\n", PLAIN[:-1], chunked(b"{}")[:-2]):
            reader = AnswerReader()
            reader.begin(MOST)
            self.assertIsNone(reader.received(data))
            self.assertIsNone(reader.ended())

    def test_behind_an_answer(self) -> None:
        """What comes behind the answer is no part of it, and the connection is not used again."""
        for more in (b"x", PLAIN, b"\r\n" + chunked(b"[]")):
            reader = AnswerReader()
            reader.begin(MOST)
            self.assertEqual((reader.received(PLAIN + more), reader.keeps), (OK, False))

    def test_trailers(self) -> None:
        """Headers after the body change nothing."""
        data = chunked(b"{}")[:-2] + b"X-Other: 9\r\nRetry-After: 5\r\n\r\n"
        self.assertEqual((self.reader.received(data), self.reader.keeps), (OK, True))


class NoAnswerTests(ReaderCase):
    """What is none."""

    def test_something_else(self) -> None:
        """Another protocol, or one that is switched to."""
        for data in (
            b"220 mail ready\r\n\r\n",
            b"\x16\x03\x01\x00",
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n{}",
        ):
            self.fails(data)

    def test_ambiguous_length(self) -> None:
        """Two ways to see where the body ends, or a length that is no number: somebody could see another end."""
        for headers in (
            b"Content-Length: 2\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: chunked\r\nContent-Length: 2",
            b"Content-Length: 2\r\nContent-Length: 3",
            b"Content-Length: +2",
            b"Content-Length: 2_0",
            b"Content-Length: ",
            b"Content-Length: 99999999999999999999999999",
        ):
            self.fails(b"HTTP/1.1 200 OK\r\n%b\r\n\r\n{}" % headers)

    def test_endless_head(self) -> None:
        """A head without end is given up, and so are headers after the body, and one interim answer after the other."""
        line = b"X-Again: " + b"x" * 1000 + b"\r\n"
        interim = b"HTTP/1.1 100 Continue\r\n\r\n"
        for begin, again in (
            (b"HTTP/1.1 200 OK\r\n", line),
            (b"HTTP/1.1 200 OK\r\nX-Long: ", b"x" * 1000),
            (chunked(b"{}")[:-2], line),
            (interim, interim),
        ):
            reader = AnswerReader()
            reader.begin(MOST)
            with self.assertRaises(NoAnswer):
                for data in (begin, *[again] * 3000):
                    self.assertIsNone(reader.received(data))


class SizeTests(ReaderCase):
    """Bodies that are too long."""

    def test_limit(self) -> None:
        """As many bytes are taken as there may be, and not one more."""
        for make in (sized, chunked):
            self.reader = AnswerReader()
            self.reader.begin(MOST)
            self.assertEqual(self.reader.received(make(b" " * MOST)), Answer(200, None, b" " * MOST))
            self.fails(make(b" " * (MOST + 1)), BodyTooLarge)

    def test_announced(self) -> None:
        """What is announced too long is refused before any of it came."""
        self.fails(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n", BodyTooLarge)

    def test_without_end(self) -> None:
        """What is not announced is refused while it comes."""
        self.fails(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (MOST + 1), BodyTooLarge)

    def test_error(self) -> None:
        """Of an error that is too long the status says enough, and its connection is not used again."""
        long = b" " * (MOST_OF_AN_ERROR + 1)
        for make in (sized, chunked):
            self.reader = AnswerReader()
            self.reader.begin(MOST)
            answer = self.reader.received(make(long, b"403 Forbidden"))
            self.assertEqual((answer, self.reader.keeps), (Answer(403, None, b""), False))


class PackedTests(ReaderCase):
    """Bodies that are compressed."""

    def packed(self, body: bytes, name: bytes = b"gzip") -> bytes:
        """An answer with this body."""
        return sized(body, more=b"Content-Encoding: %b\r\n" % name)

    def test_limit(self) -> None:
        """What counts is the unpacked length, and no more than that is unpacked."""
        self.assertEqual(self.reader.received(self.packed(gzip.compress(b" " * MOST))), Answer(200, None, b" " * MOST))
        self.fails(self.packed(gzip.compress(b" " * (MOST + 1))), BodyTooLarge)
        self.fails(self.packed(gzip.compress(b" " * 10_000_000))[: MOST // 2], BodyTooLarge)

    def test_error(self) -> None:
        """A packed error may be as long as any."""
        body = b" " * (MOST + 1)
        data = sized(gzip.compress(body), b"403 Forbidden", b"Content-Encoding: gzip\r\n")
        self.assertEqual(self.reader.received(data), Answer(403, None, body))

    def test_broken(self) -> None:
        """What cannot be unpacked, or lacks its end, is no answer."""
        packed = gzip.compress(b"{}")
        for body in (packed[:-1], b"{}", b"", zlib.compress(b"{}"), packed[:-8] + b"\0" * 8):
            self.fails(self.packed(body))
