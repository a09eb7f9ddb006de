"""Which requests are passed on, by their targets alone."""

from __future__ import annotations

from collections.abc import Iterable
from posixpath import normpath
from urllib.parse import quote, unquote, unquote_to_bytes

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.web.resource import OWN_PATHS
from syncproxy.web.targets import PREFIXES, Route, is_plain, route

CLIENT = b"/_matrix/client/"
_DOTS = [b".", b"%2e", b"%2E", b"%252e", b"%25252e"]
_SLASHES = [b"/", b"%2f", b"%2F", b"\\", b"%5c", b"%5C", b"%252f"]


def routed(target: bytes, method: bytes = b"GET") -> Route:
    return route(method, target, OWN_PATHS)


class RouteTests(SynchronousTestCase):
    """Paths that are told apart."""

    def all_are(self, expected: Route, targets: Iterable[bytes], method: bytes = b"GET") -> None:
        for target in targets:
            self.assertEqual(expected, routed(target, method), target)

    def test_what_clients_ask_a_homeserver(self) -> None:
        """All that is under the three prefixes goes on."""
        self.all_are(
            Route.FORWARDED,
            [
                b"/_matrix/client/v3/login",
                b"/_matrix/client/v1/media/download/hs/abc?allow_redirect=true",
                b"/_matrix/media/v3/upload?filename=../../x",
                b"/_synapse/client/oidc/callback?code=..%2f",
                b"/_matrix/client/v3/rooms/!a%3Ahs/event/%24acR1l0raoZnm60CBwAVgqbZqoO%2FmYU81xysh1u7XcJk",
                b"/_matrix/client/v3/rooms/!a/state/m.room.name/",
                b"/_matrix/client/v3/rooms/!a/state/t/..a",
                b"/_matrix/client/v3/rooms/!a/state/t/%F0%9F%92%A9",
                b"/_matrix/client/v3/rooms/!a/state/t/100%25",
                b"/_matrix/client/unstable/org.matrix.simplified_msc3575/sync/more",
            ],
        )

    def test_what_is_answered_here(self) -> None:
        """Sliding sync and `/versions` with whatever method, `/v3/sync` with POST only; and all that goes nowhere."""
        self.all_are(Route.HERE, [path + b"?pos=1" for path in OWN_PATHS], b"POST")
        self.assertEqual(Route.FORWARDED, routed(b"/_matrix/client/v3/sync?timeout=1"))
        self.assertEqual(Route.HERE, routed(b"/_matrix/client/v4/sync", b"OPTIONS"))
        self.all_are(
            Route.HERE,
            [
                b"*",
                b"/",
                b"/health",
                b"/_matrix/federation/v1/version",
                b"/_matrix/key/v2/server",
                b"/_matrix/client",
                b"/_matrix/clientele/v3",
                b"/_synapse/admin/v1/users",
                b"//_matrix/client/v3/login",
                b"/%5fmatrix/client/v3/login",
            ],
        )

    def test_what_is_no_path(self) -> None:
        """Absolute targets, fragments, spaces, control characters, bytes that are no ASCII, half escapes."""
        self.all_are(
            Route.REFUSED,
            [
                b"",
                b"http://elsewhere/_matrix/client/v3/login",
                b"elsewhere:443",
                CLIENT + b"a#b",
                CLIENT + b"a b",
                CLIENT + b"a?\x00",
                CLIENT + b"a\xc3\xa4",
                CLIENT + b"a?\xff",
                CLIENT + b"a%",
                CLIENT + b"a%2",
                CLIENT + b"a%zz",
                CLIENT + b"a%00",
                CLIENT + b"a%2500",
                CLIENT + b"a%0d%0aX:%201",
                CLIENT + b"a%7f",
                CLIENT + b"a\\b",
                CLIENT + b"%ff",
                CLIENT + b"%c0%ae%c0%ae/x",
                CLIENT + b"..;/x",
                CLIENT + b"%2e%2e%3bx/x",
                CLIENT + b"%25252525252e",
            ],
        )

    def test_every_spelling_of_dot_segments(self) -> None:
        """One or two dots between two slashes are refused, whichever way each of them is written."""
        for before in _SLASHES:
            for after in [*_SLASHES, b"", b"?a"]:
                for first in _DOTS:
                    for second in [b"", *_DOTS]:
                        target = CLIENT + b"a" + before + first + second + after
                        self.assertEqual(Route.REFUSED, routed(target), target)


class ReaderTests(SynchronousTestCase):
    """However the homeserver reads a path, it finds nothing outside of what is passed on."""

    @given(
        st.lists(st.sampled_from([*_DOTS, *_SLASHES, b"a", b"%41", b";", b"%00", b"%c0%ae", b"_synapse"]), max_size=12)
    )
    def test_readers_agree(self, parts: list[bytes]) -> None:
        """Unescaped any number of times, backslashes taken for slashes or not, dots resolved: the prefix stays."""
        target = CLIENT + b"".join(parts)
        if routed(target) is not Route.FORWARDED:
            return
        path = target.decode("ascii")
        for _ in range(5):
            for read in (path, path.replace("\\", "/")):
                self.assertTrue(f"{normpath(read)}/".startswith("/_matrix/client/"), read)
            path = unquote(path)

    @given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=5), max_size=5))
    def test_identifiers_pass(self, names: list[str]) -> None:
        """Whatever identifiers there are, well escaped, they are passed on, if they are not dots alone."""
        path = "/".join(quote(name, safe="") for name in names)
        dots = any(
            name.partition(";")[0] in (".", "..") for name in unquote(unquote(path)).replace("\\", "/").split("/")
        )
        escaped = unquote_to_bytes(path)
        if not dots and b"%" not in escaped:
            self.assertEqual(Route.FORWARDED, routed(CLIENT + path.encode("ascii")))

    @given(st.binary(max_size=40))
    def test_any_bytes(self, data: bytes) -> None:
        """Whatever comes, it is judged; what goes on is in the prefixes and plain."""
        if routed(data) is Route.FORWARDED:
            self.assertTrue(data.startswith(PREFIXES) and is_plain(data))

    @given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="#"), max_size=40))
    def test_any_query(self, query: str) -> None:
        """A query may be anything that can be sent."""
        self.assertEqual(Route.FORWARDED, routed(b"/_matrix/media/a?" + query.encode("ascii")))
