"""The secret and what is derived from it."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.command.options import Options
from syncproxy.command.secret import derived_key, read_secret
from syncproxy.command.settings import Settings
from syncproxy.errors import ConfigurationError


class SecretTests(SynchronousTestCase):
    """`read_secret`."""

    def settings(self, *words: str, **env: str) -> Settings:
        """Settings with a data directory of the test's own."""
        self.data_dir = Path(self.mktemp())
        options = Options(env)
        options.parseOptions(["--homeserver", "http://hs", "--data-dir", str(self.data_dir), *words])
        return options.settings

    def test_made_once(self) -> None:
        """Without --secret-file one is made, for the owner's eyes only, and kept."""
        settings = self.settings()
        secret = read_secret(settings)
        self.assertGreaterEqual(len(secret), 32)
        self.assertEqual(secret, read_secret(settings))
        self.assertEqual(0o600, (self.data_dir / "secret").stat().st_mode & 0o777)
        self.assertEqual(["secret"], [path.name for path in self.data_dir.iterdir()])

    def test_file(self) -> None:
        """A file's contents without the newline at the end; the data directory is not made."""
        path = Path(self.mktemp())
        path.write_bytes(b"0123456789abcdef\n")
        self.assertEqual(b"0123456789abcdef", read_secret(self.settings("--secret-file", str(path))))
        self.assertFalse(self.data_dir.exists())

    def test_environment(self) -> None:
        """The Go proxy's variable is the secret itself."""
        self.assertEqual(b"from the environment", read_secret(self.settings(SYNCV3_SECRET="from the environment")))

    def test_short(self) -> None:
        """A secret that is too short to be one is refused."""
        path = Path(self.mktemp())
        path.write_bytes(b"short\n")
        settings = self.settings("--secret-file", str(path))
        self.assertIn("openssl", str(self.assertRaises(ConfigurationError, read_secret, settings)))

    def test_missing(self) -> None:
        """A file that is not there is named."""
        settings = self.settings("--secret-file", "/nowhere/secret")
        self.assertIn("/nowhere/secret", str(self.assertRaises(ConfigurationError, read_secret, settings)))

    def test_no_place(self) -> None:
        """A data directory that cannot be made is refused in a line."""
        blocked = Path(self.mktemp())
        blocked.write_bytes(b"")
        settings = self.settings("--data-dir", str(blocked / "data"))
        self.assertIn("--data-dir", str(self.assertRaises(ConfigurationError, read_secret, settings)))

    def test_derived(self) -> None:
        """Keys for different purposes, or of different secrets, differ; the same are the same."""
        keys = {derived_key(secret, purpose) for secret in (b"a", b"b") for purpose in ("x", "y") for _ in range(2)}
        self.assertEqual(4, len(keys))
