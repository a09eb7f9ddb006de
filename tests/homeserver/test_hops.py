"""Headers that end with a connection."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers

from syncproxy.homeserver.hops import end_to_end

_OF_A_HOP = ["Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade"]
_OWN = ["Content-Length", "Host", "Expect", "Proxy-Authorization", "Proxy-Authenticate"]
_names = st.sampled_from(["X-A", "X-B", "Authorization", "Range", *_OF_A_HOP, *_OWN])


def passed(headers: Headers, connection: list[bytes]) -> set[str]:
    return {name.decode() for name, _ in end_to_end(headers, connection).getAllRawHeaders()}


class HopTests(SynchronousTestCase):
    """What passes."""

    @given(st.lists(st.tuples(_names, st.text("abc", min_size=1, max_size=3))), st.lists(_names), st.booleans())
    def test_any_headers(self, headers: list[tuple[str, str]], named: list[str], upper: bool) -> None:
        """All but those of the hop and those that `Connection` names, in whichever case; values keep their order."""
        came = Headers()
        for name, value in headers:
            came.addRawHeader(name, value)
        listed = ", ".join(named)
        connection = [(listed.upper() if upper else listed.lower()).encode("ascii")]
        expected = {name for name, _ in headers} - {*_OF_A_HOP, *_OWN, *named}
        through = end_to_end(came, connection)
        self.assertEqual({name.lower() for name in expected}, {name.lower() for name in passed(came, connection)})
        for name in expected:
            self.assertEqual([value for other, value in headers if other == name], through.getRawHeaders(name))

    def test_several_connection_headers(self) -> None:
        """Each of them names some."""
        came = Headers({"X-A": ["1"], "X-B": ["1"], "X-C": ["1"]})
        self.assertEqual({"X-C"}, passed(came, [b"x-a", b" X-B ,close"]))

    def test_kept(self) -> None:
        """One that the caller wants goes on all the same."""
        through = end_to_end(Headers({"Content-Length": ["12"]}), [], frozenset([b"content-length"]))
        self.assertEqual(["12"], through.getRawHeaders("Content-Length"))
