"""docs/how-to/coming-from-the-go-proxy.md: the variables that it names are read, or are not, as it says."""

from __future__ import annotations

import re
import shlex
from inspect import getsource

from twisted.trial.unittest import SynchronousTestCase

import syncproxy.command.options
from syncproxy.command import go_names
from syncproxy.command.options import OPTIONS, Options
from tests.docs.pages import commands, page, rows, section
from tests.integration.test_go_proxy import DROPPED

PAGE = "how-to/coming-from-the-go-proxy.md"
_NAME = re.compile(r"SYNCV3_[A-Z]+(?:_[A-Z]+)*")


class VariableTests(SynchronousTestCase):
    """The two tables."""

    def test_variables(self) -> None:
        """Those in the first table are the ones that the program reads; it reads none in the second."""
        sources = [getsource(module) for module in (go_names, syncproxy.command.options)]
        read = {name for source in sources for name in re.findall(r'"(SYNCV3_[A-Z_]+)"', source)}
        text = section(page(PAGE), "Variables")
        first, _, second = text.partition("These are not looked at.")
        self.assertEqual(read, {name for row in rows(first) for name in _NAME.findall(row[0])})
        self.assertEqual(set(), read & set(_NAME.findall(second)))

    def test_options(self) -> None:
        """All options that the page names are there."""
        named = set(re.findall(r"`--([a-z-]+)", page(PAGE)))
        self.assertEqual(set(), named - {option.name for option in OPTIONS})


class CommandTests(SynchronousTestCase):
    """Starting it."""

    def test_environment(self) -> None:
        """The environment of the example starts it, without an option, where the Go proxy was."""
        (text,) = re.findall(r"```ini\n# /etc/syncproxy.env\n(.*?)```", page(PAGE), re.DOTALL)
        (start,) = [command for command in commands(page(PAGE)) if "/twistd " in command]
        options = Options(dict(word.split("=", 1) for word in shlex.split(text)))
        options.parseOptions(shlex.split(start)[shlex.split(start).index("syncproxy") + 1 :])
        settings = options.settings
        self.assertEqual(("tcp:8008:interface=0.0.0.0",), settings.listen)
        self.assertEqual("https://matrix.example.org", settings.homeserver)
        self.assertEqual("user=syncv3 dbname=syncv3 sslmode=disable password=hunter2", settings.database)

    def test_schema(self) -> None:
        """What is dropped on the way back is what tests.integration.test_go_proxy finds to be all that was made."""
        (drop,) = [command for command in commands(page(PAGE)) if "DROP" in command]
        self.assertIn(DROPPED, drop)
