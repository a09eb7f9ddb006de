"""Texts that come again and again are one object."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.matrix.sharing import Shared, shared


def made(text: str) -> str:
    """An object of its own."""
    return "".join(list(text))


class SharedTests(SynchronousTestCase):
    """One object for equal texts, in bounded memory."""

    def test_equal_texts_are_one_object(self) -> None:
        """Whichever way this Python goes."""
        for share in (shared, Shared()):
            one = share(made("@alice:hs"))
            self.assertIs(share(made("@alice:hs")), one)
            self.assertEqual(one, "@alice:hs")

    def test_others_make_room(self) -> None:
        """Of so many other texts that they do not fit, none is kept."""
        share = Shared(2)
        one = share(made("@alice:hs"))
        for text in ("@bob:hs", "@carol:hs", "@dora:hs"):
            self.assertEqual(share(made(text)), text)
        self.assertIsNot(share(made("@alice:hs")), one)

    def test_known_texts_need_no_room(self) -> None:
        """They stay what they are when all places are taken."""
        share = Shared(2)
        one, other = share(made("@alice:hs")), share(made("@bob:hs"))
        self.assertIs(share(made("@alice:hs")), one)
        self.assertIs(share(made("@bob:hs")), other)

    def test_long_texts_are_not_kept(self) -> None:
        """They hardly come twice."""
        share = Shared()
        long = made("x" * 300)
        self.assertIs(share(long), long)
        self.assertIsNot(share(made("x" * 300)), long)
