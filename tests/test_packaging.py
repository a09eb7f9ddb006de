"""What is installed is what is in the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from configparser import ConfigParser
from pathlib import Path
from shutil import copytree, rmtree

from twisted.trial.unittest import SkipTest, SynchronousTestCase

ROOT = Path(__file__).parent.parent


class PackagesTests(SynchronousTestCase):
    """setup.cfg's list of packages."""

    def setUp(self) -> None:
        """Needs a checkout."""
        if not (ROOT / "setup.cfg").exists():
            raise SkipTest("these tests are not in a checkout")

    def test_all_packages(self) -> None:
        """Every package is listed, and nothing else."""
        config = ConfigParser(interpolation=None)
        config.read(ROOT / "setup.cfg")
        listed = set(config["options"]["packages"].split())
        # setup.cfg's comments start at the line's beginning
        found = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "syncproxy").rglob("__init__.py")}
        self.assertEqual(found | {"syncproxy.storage.migrations", "twisted.plugins"}, listed)

    def test_no_init_of_twisted(self) -> None:
        """Nothing of ours would overwrite Twisted's own `__init__.py`."""
        self.assertEqual(["plugins", "plugins/syncproxy_plugin.py"], self.files(ROOT / "twisted"))

    def files(self, directory: Path) -> list[str]:
        """What is in a directory, but for what Python leaves there."""
        paths = (path.relative_to(directory) for path in directory.rglob("*"))
        return sorted(str(path) for path in paths if "__pycache__" not in path.parts and path.name != "dropin.cache")


class WheelTests(SynchronousTestCase):
    """A plain `pip install` into a new virtual environment; from the network, so only where it is asked for."""

    def setUp(self) -> None:
        """Build and install."""
        if not os.environ.get("SYNCPROXY_TEST_WHEEL"):
            raise SkipTest("SYNCPROXY_TEST_WHEEL is not set")
        self.home = Path(tempfile.mkdtemp(prefix="syncproxy-wheel-"))
        self.addCleanup(rmtree, self.home, True)
        source = self.home / "source"
        source.mkdir()
        for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
            (source / name).write_bytes((ROOT / name).read_bytes())
        for name in ("syncproxy", "twisted"):
            copytree(ROOT / name, source / name)
        venv.create(self.home / "venv", with_pip=True)

    def run_in_venv(self, *words: str) -> str:
        """What a program of the venv prints; it must end well."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        answer = subprocess.run(
            [self.home / "venv" / "bin" / words[0], *words[1:]],
            cwd=self.home,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(0, answer.returncode, answer.stdout + answer.stderr)
        return answer.stdout

    def test_installed(self) -> None:
        """Twistd knows the plugin, the migrations are there, and Twisted's own files are as they were."""
        self.run_in_venv("pip", "install", "-q", str(self.home / "source"))
        site = self.home / "venv" / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
        own = (site / "twisted" / "plugins" / "__init__.py").read_text()
        self.assertIn("Plugins for services implemented in Twisted", own)
        self.assertIn("syncproxy", self.run_in_venv("twistd", "--help"))
        self.assertIn("forget-tokens", self.run_in_venv("syncproxy-admin", "--help"))
        self.assertIn("--homeserver", self.run_in_venv("twistd", "syncproxy", "--help"))
        migrations = {path.name for path in (ROOT / "syncproxy" / "storage" / "migrations").glob("*.sql")}
        installed = {path.name for path in (site / "syncproxy" / "storage" / "migrations").glob("*.sql")}
        self.assertEqual(migrations, installed)
        self.assertTrue(installed)
        self.run_in_venv("pip", "uninstall", "-q", "-y", "syncproxy")
        self.assertEqual(own, (site / "twisted" / "plugins" / "__init__.py").read_text())
        self.assertNotIn("Sliding sync in front", self.run_in_venv("twistd", "--help"))
