"""One answer of HTTP/1.1, read as it comes."""

from __future__ import annotations

import zlib

import attrs
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from syncproxy.homeserver.bodies import Body, BodyTooLarge, Parts

#: bytes of an error, of which more is not read
MOST_OF_AN_ERROR = 1024 * 1024
#: bytes that may come without bringing something of the body: a head, or what stands between a body's parts
_MOST_OF_A_HEAD = 64 * 1024
_OK, _SWITCHING, _LAST_INTERIM = 200, 101, 199


class NoAnswer(Exception):
    """What came is no answer, or not a whole one."""


@attrs.frozen
class Answer:
    """An answer. The body of an error is empty if it is longer than is read."""

    status: int
    retry_after: str | None
    body: Body


class AnswerReader:
    """Reads the answers that come on one connection, one after the other."""

    def __init__(self) -> None:
        """`begin` is called before each."""
        self._parser = HttpResponseParser(self)
        self.begin(0)

    def begin(self, most: int) -> None:
        """Expect an answer, with a body of `most` bytes at the most."""
        self._most = most
        self._retry_after: str | None = None
        self._length: int | None = None
        self._has_end = False
        self._unpacker: zlib._Decompress | None = None
        self._parts: Parts | None = None
        self._barren = 0
        self._whole: Answer | None = None
        #: whether anything came
        self.has_begun = False
        #: whether the connection may be used again; of meaning when there is an answer
        self.keeps = False

    def received(self, data: bytes) -> Answer | None:
        """The next bytes; the answer if that was all of it.

        Raises NoAnswer, and BodyTooLarge as soon as it can be seen: the connection is of no use any more then.
        """
        self.has_begun = True
        self._barren += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as problem:
            # what came behind the answer is nobody's
            self.keeps = False
            if self._whole is None:
                self._raise(problem)
        if self._whole is None and self._barren > _MOST_OF_A_HEAD:
            raise NoAnswer("its head has no end")
        return self._whole

    def ended(self) -> Answer | None:
        """The connection has ended: the answer, if that is how its body ends. Raises NoAnswer."""
        if self._parts is None or self._has_end:
            return None
        self._complete(self._parts)
        return self._whole

    def _raise(self, problem: Exception) -> None:
        cause = problem.__context__
        if isinstance(cause, BodyTooLarge | NoAnswer):
            raise cause from None
        # its text could have parts of what came
        raise NoAnswer(type(problem).__name__) from None

    # What the parser calls

    def on_message_begin(self) -> None:
        """Another answer begins: of a request that nobody made, if there is one already."""
        if self._whole is not None:
            self.keeps = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header's line, or one after the body."""
        if self._parts is not None:
            return
        name = name.lower()
        if name == b"content-length":
            self._has_end, self._length = True, int(value)
        elif name == b"transfer-encoding":
            self._has_end = True
        elif name == b"retry-after":
            self._retry_after = value.decode("latin-1")
        elif name == b"content-encoding" and value.strip().lower() in (b"gzip", b"x-gzip"):
            self._unpacker = zlib.decompressobj(16 + zlib.MAX_WBITS)

    def on_headers_complete(self) -> None:
        """What follows is the body."""
        status = self._parser.get_status_code()
        if status <= _LAST_INTERIM:
            return
        if status != _OK:
            self._most, self._length = MOST_OF_AN_ERROR, None
        self._parts, self._barren = Parts(self._most), 0
        if self._length is not None and self._length > self._most:
            raise BodyTooLarge

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        parts, self._barren = self._parts, 0
        if parts is None or self._whole is not None:
            return
        try:
            # packed tightly, it would be a thousand times as much
            parts.add(data if self._unpacker is None else self._unpacker.decompress(data, self._most + 1))
        except zlib.error:
            raise NoAnswer("it is not packed as it says") from None
        except BodyTooLarge:
            status = self._parser.get_status_code()
            if status == _OK:
                raise
            # it says enough
            self._whole = Answer(status, self._retry_after, b"")

    def on_message_complete(self) -> None:
        """The answer is whole, if it is not one that only tells to wait for it."""
        if self._whole is not None:
            return
        if self._parts is not None:
            self.keeps = self._parser.should_keep_alive()
            self._complete(self._parts)
        elif self._parser.get_status_code() == _SWITCHING:
            raise NoAnswer("it speaks something else from here on")
        else:
            self._retry_after = self._length = self._unpacker = None
            self._has_end = False

    def _complete(self, parts: Parts) -> None:
        if self._unpacker is not None and not self._unpacker.eof:
            raise NoAnswer("the end of what is packed is missing")
        self._whole = Answer(self._parser.get_status_code(), self._retry_after, parts.whole())
