"""The command line and the environment."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from syncproxy.command.options import OPTIONS, Options
from syncproxy.command.settings import Settings

HOMESERVER = ("--homeserver", "https://hs.example")


class OptionsCase(SynchronousTestCase):
    """Parses command lines with an environment of the test's own."""

    def settings(self, *words: str, env: Mapping[str, str] | None = None) -> Settings:
        """What these words and variables amount to, a homeserver given."""
        return self.parsed(*HOMESERVER, *words, env=env)

    def parsed(self, *words: str, env: Mapping[str, str] | None = None) -> Settings:
        """What these words and variables amount to."""
        options = Options(env or {})
        options.parseOptions(list(words))
        return options.settings

    def refusal(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        """The line that the program ends with."""
        with self.assertRaises(SystemExit) as caught:
            self.parsed(*words, env=env)
        line = caught.exception.code
        assert isinstance(line, str), line
        self.assertNotIn("\n", line)
        return line


class DefaultTests(OptionsCase):
    """What nobody needs to say."""

    def test_defaults(self) -> None:
        """Nothing but the homeserver is needed."""
        settings = self.settings()
        self.assertEqual("https://hs.example", settings.homeserver)
        self.assertEqual(("tcp:8009:interface=127.0.0.1",), settings.listen)
        self.assertEqual(Path("./syncproxy-data"), settings.data_dir)
        self.assertEqual(256 * 1024**2, settings.cache_size)
        self.assertEqual(1024**2, settings.max_request_size)
        self.assertEqual((1800, 2592000), (settings.connection_ttl, settings.poller_idle))
        self.assertEqual(0.3, settings.transaction_id_wait)
        self.assertIsNone(settings.database)
        self.assertIsNone(settings.metrics)
        self.assertFalse(settings.trust_forwarded_for)

    def test_public_homeserver(self) -> None:
        """Clients are told the homeserver's URL, unless there is another one, or none for them."""
        self.assertEqual("https://hs.example", self.settings().public_homeserver)
        self.assertEqual(
            "https://public.example", self.settings("--public-homeserver=https://public.example").public_homeserver
        )
        self.assertIsNone(self.parsed("--homeserver", "unix:/run/hs.sock").public_homeserver)

    def test_slash(self) -> None:
        """A slash at the homeserver's end is no part of its name."""
        self.assertEqual("https://hs.example/x", self.parsed("--homeserver", "https://hs.example/x/").homeserver)

    def test_listen_is_repeatable(self) -> None:
        """Each --listen adds a place, and the default is none of them."""
        listen = self.settings("--listen", "tcp:1", "--listen", "unix:/run/it").listen
        self.assertEqual(("tcp:1", "unix:/run/it"), listen)

    def test_sizes(self) -> None:
        """Sizes take units."""
        for text, size in (("1000", 1000), ("64KiB", 65536), ("2m", 2 * 1024**2), ("1 GB", 1024**3)):
            self.assertEqual(size, self.settings("--cache-size", text).cache_size, text)

    def test_help(self) -> None:
        """--help names every option and its default."""
        output = io.StringIO()
        with contextlib.redirect_stdout(output), self.assertRaises(SystemExit) as caught:
            Options({}).parseOptions(["--help"])
        self.assertFalse(caught.exception.code)
        words = re.sub(r"\s+", "", output.getvalue())
        for option in OPTIONS:
            self.assertIn(f"--{option.name}", words)
            self.assertIn(f"[default:{option.default}]" if option.default else "", words)


class EnvironmentTests(OptionsCase):
    """SYNCPROXY_* and the Go proxy's variables."""

    def test_ours(self) -> None:
        """Each option has a variable; --listen's takes several places."""
        env = {
            "SYNCPROXY_HOMESERVER": "http://env.example",
            "SYNCPROXY_LISTEN": "tcp:1 tcp:2",
            "SYNCPROXY_TRUST_FORWARDED_FOR": "true",
            "SYNCPROXY_MAX_REQUEST_SIZE": "2MiB",
        }
        settings = self.parsed(env=env)
        self.assertEqual("http://env.example", settings.homeserver)
        self.assertEqual(("tcp:1", "tcp:2"), settings.listen)
        self.assertTrue(settings.trust_forwarded_for)
        self.assertEqual(2 * 1024**2, settings.max_request_size)

    def test_precedence(self) -> None:
        """Command line over SYNCPROXY_* over SYNCV3_*."""
        env = {"SYNCPROXY_HOMESERVER": "http://ours.example", "SYNCV3_SERVER": "http://go.example"}
        self.assertEqual("https://hs.example", self.settings(env=env).homeserver)
        self.assertEqual("http://ours.example", self.parsed(env=env).homeserver)
        del env["SYNCPROXY_HOMESERVER"]
        self.assertEqual("http://go.example", self.parsed(env=env).homeserver)

    def test_go_proxy(self) -> None:
        """The Go proxy's environment starts us as it did the Go proxy."""
        settings = self.parsed(
            env={
                "SYNCV3_SERVER": "https://matrix-client.example",
                "SYNCV3_DB": "user=postgres dbname=syncv3 sslmode=disable password=p",
                "SYNCV3_SECRET": "0123456789abcdef",
                "SYNCV3_BINDADDR": "0.0.0.0:8008",
                "SYNCV3_PROM": ":2112",
                "SYNCV3_LOG_LEVEL": "trace",
                "SYNCV3_MAX_DB_CONN": "7",
            }
        )
        self.assertEqual("https://matrix-client.example", settings.homeserver)
        self.assertEqual("user=postgres dbname=syncv3 sslmode=disable password=p", settings.database)
        self.assertEqual(b"0123456789abcdef", settings.secret)
        self.assertEqual(("tcp:8008:interface=0.0.0.0",), settings.listen)
        self.assertEqual("tcp:2112", settings.metrics)
        self.assertEqual("debug", settings.log_level)
        self.assertEqual(7, settings.database_connections)

    def test_go_addresses(self) -> None:
        """Addresses, sockets and TLS become endpoints."""
        self.assertEqual(("unix:/run/it.sock",), self.settings(env={"SYNCV3_BINDADDR": "/run/it.sock"}).listen)
        self.assertEqual((r"tcp6:80:interface=\:\:1",), self.settings(env={"SYNCV3_BINDADDR": "[::1]:80"}).listen)
        tls = {"SYNCV3_BINDADDR": ":443", "SYNCV3_TLS_CERT": "/c:1.pem", "SYNCV3_TLS_KEY": "/k.pem"}
        self.assertEqual((r"ssl:443:certKey=/c\:1.pem:privateKey=/k.pem",), self.settings(env=tls).listen)

    def test_go_unix_homeserver(self) -> None:
        """A path for a homeserver is a socket."""
        self.assertEqual("unix:/run/synapse.sock", self.parsed(env={"SYNCV3_SERVER": "/run/synapse.sock"}).homeserver)

    def test_go_default_connections(self) -> None:
        """0 connections meant the default."""
        self.assertEqual(10, self.settings(env={"SYNCV3_MAX_DB_CONN": "0"}).database_connections)

    def test_secret_file_goes_over_secret(self) -> None:
        """A file that is named goes over the Go proxy's variable."""
        settings = self.settings("--secret-file", "/run/secret", env={"SYNCV3_SECRET": "0123456789abcdef"})
        self.assertIsNone(settings.secret)
        self.assertEqual(Path("/run/secret"), settings.secret_file)


class RefusalTests(OptionsCase):
    """One line for whatever is wrong."""

    def test_no_homeserver(self) -> None:
        """The one thing that is needed is named, with an example."""
        self.assertIn("--homeserver https://", self.refusal())

    def test_bad_values(self) -> None:
        """A value that cannot be is refused with the option's name."""
        for name, text in (
            ("homeserver", "matrix.example.org"),
            ("homeserver", "ftp://hs.example"),
            ("homeserver", "https://hs.example:port"),
            ("homeserver", "https://hs.example/?x"),
            ("homeserver", "unix:relative"),
            ("homeserver", ""),
            ("public-homeserver", "hs.example"),
            ("database", "syncproxy"),
            ("database-connections", "0"),
            ("database-connections", "many"),
            ("cache-size", "1 mile"),
            ("cache-size", "0"),
            ("max-request-size", "-1"),
            ("connection-ttl", "0"),
            ("connection-ttl", "nan"),
            ("poller-idle", "a month"),
            ("first-sync-timeline-limit", "1.5"),
            ("transaction-id-wait", "-1"),
            ("transaction-id-wait", "9" * 400),
            ("log-level", "loud"),
            ("log-format", "xml"),
        ):
            words = [*HOMESERVER, f"--{name}={text}"]
            self.assertIn(f"--{name}", self.refusal(*words), (name, text))

    def test_bad_variables(self) -> None:
        """In the environment too, with the variable's name."""
        for name in ("SYNCPROXY_CACHE_SIZE", "SYNCPROXY_TRUST_FORWARDED_FOR"):
            self.assertIn(name, self.refusal(*HOMESERVER, env={name: "perhaps"}))
        self.assertIn("SYNCV3", self.refusal(*HOMESERVER, env={"SYNCV3_MAX_DB_CONN": "many"}))
        self.assertIn("SYNCV3_PROM", self.refusal(*HOMESERVER, env={"SYNCV3_PROM": "2112"}))
        self.assertIn("SYNCV3_TLS_KEY", self.refusal(env={"SYNCV3_BINDADDR": ":1", "SYNCV3_TLS_CERT": "/c"}))

    def test_unknown(self) -> None:
        """An option that does not exist, and words that are none."""
        self.assertIn("--homserver", self.refusal("--homserver", "https://hs.example"))
        self.assertIn("https://hs.example", self.refusal("https://hs.example"))

    def test_contradictions(self) -> None:
        """Options that exclude each other are both named."""
        line = self.refusal(*HOMESERVER, "--database", "dbname=x", "--database-user", "postgres")
        self.assertIn("--database-user", line)
        line = self.refusal(*HOMESERVER, "--listen", "tcp:1", "--metrics", "tcp:1")
        self.assertIn("--metrics", line)

    def test_secrets_are_not_repeated(self) -> None:
        """A password in a connection string that is refused is not printed."""
        line = self.refusal(*HOMESERVER, "--database", "mysql://user:hunter2@host/db")
        self.assertNotIn("hunter2", line)
