"""URLs that are made once say what treq would make of their parts."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from hyperlink import DecodedURL
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from syncproxy.homeserver.targets import Targets

PATH = "/_matrix/client/v3/rooms/%21a%3Ahs/members"
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


class TargetsTests(SynchronousTestCase):
    """Bases, paths, parameters."""

    @given(st.dictionaries(texts.filter(bool), texts.filter(bool), max_size=4))
    def test_parameters(self, parameters: dict[str, str]) -> None:
        """A reader of the URL finds the parameters, whatever is in them; all of it can be sent."""
        text = Targets("http://hs:8008").of(PATH, parameters).to_uri().to_text()
        self.assertEqual(dict(parse_qsl(urlsplit(text).query, strict_parsing=bool(parameters))), parameters)
        self.assertTrue(text.isascii())
        self.assertNotIn("+", text)

    def test_bases(self) -> None:
        """What comes before the path is what it would be without; host names are spelt as in DNS."""
        for base in ("http://127.0.0.1:8008", "https://hs.example/below", "http://exämple.org:80"):
            target = Targets(base).of(PATH, {})
            there = DecodedURL.from_text(base + PATH).encoded_url.to_uri()
            self.assertEqual((target.to_text(), target.host, target.port), (there.to_text(), there.host, there.port))

    def test_address(self) -> None:
        """An address of IPv6 stays as it is."""
        self.assertEqual(Targets("http://[::1]:8008").of(PATH, {}).to_uri().to_text(), "http://[::1]:8008" + PATH)
