"""The files of the embedded database and the process that serves them: plain blocking steps, no reactor.

The data directory holds `postgresql-MAJOR`, named after the version that made it, `run` with the socket, a log and
a lock.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from syncproxy.errors import ConfigurationError
from syncproxy.storage.embedded_binaries import Binaries, DatabaseUser, our_name

#: the role that owns everything, and the only one that may come in
ROLE = "syncproxy"
#: a Unix socket's path has room for 107 bytes; PostgreSQL's name for it takes 14 of them
_LONGEST_DIRECTORY = 107 - len("/.s.PGSQL.5432")
_PR_SET_PDEATHSIG = 1
_LOG_BYTES = 1_000_000
_SETTINGS = (
    "listen_addresses=",
    "unix_socket_permissions=0700",
    "jit=off",
    "wal_level=minimal",
    "max_wal_senders=0",
    # a container's /dev/shm is small, and our statements are: no parallel workers
    "max_parallel_workers_per_gather=0",
    # statements carry events and tokens: they stay out of the log
    "log_min_error_statement=panic",
    "log_error_verbosity=terse",
)


class InUse(ConfigurationError):
    """Another syncproxy has the data directory."""


class Cluster:
    """One database directory. The caller holds the lock of `data_dir` from `lock()` until the end."""

    def __init__(
        self, data_dir: Path, binaries: Binaries, user: DatabaseUser, *, more_settings: tuple[str, ...] = ()
    ) -> None:
        self.user = user
        self.binaries = binaries
        self.directory = data_dir / f"postgresql-{binaries.major}"
        self.log = data_dir / "postgresql.log"
        self._data_dir = data_dir
        self._settings = _SETTINGS + more_settings
        self._sockets: Path | None = None
        self._made_sockets = False

    @property
    def conninfo(self) -> str:
        """How libpq gets in, once the process is ready."""
        return f"host='{self._sockets}' user={ROLE} dbname=postgres"

    def prepare(self) -> None:
        """Make what is missing: the directory (0.5 s), who may come in, the socket's directory."""
        self._refuse_other_majors()
        if not self.directory.exists():
            self._initialise()
        self._admit_ourselves()
        self._make_sockets()
        if self.log.exists() and self.log.stat().st_size > _LOG_BYTES:
            self.log.replace(self.log.with_suffix(".log.old"))

    def launch(self) -> subprocess.Popen[bytes]:
        """Start the server. It dies with the *thread* that calls this: call it in one that lives as long as we do."""
        settings = [word for setting in self._settings for word in ("-c", setting)]
        with open(os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab") as log:
            return subprocess.Popen(
                [
                    self.binaries.directory / "postgres",
                    *self._directory_argument(),
                    "-k",
                    str(self._sockets),
                    *settings,
                ],
                cwd=self.directory,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # a session of its own, so that Ctrl-C reaches us alone and the pool is closed first
                start_new_session=True,
                # unsafe beside threads only for what takes a lock: this makes two system calls
                preexec_fn=_dying_with_parent(),  # noqa: PLW1509
                **self.user.popen_arguments(),
            )

    def is_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """Whether that process takes connections: it says so in line 8 of its pid file."""
        lines = self._pid_file_lines()
        return len(lines) >= 8 and lines[0].strip() == str(process.pid) and lines[7].strip() == "ready"

    def old_process_runs(self) -> bool:
        """Whether a server that a killed syncproxy left is still about; asks it to stop, if it is."""
        lines = self._pid_file_lines()
        pid = int(lines[0]) if lines and lines[0].strip().isdigit() else 0
        if not pid or not _works_in(pid, self.directory):
            return False
        os.kill(pid, signal.SIGINT)
        return True

    def remove_stale_pid_files(self) -> None:
        """Remove the pid files of a server that is gone, the socket's too: another program may have its number now."""
        (self.directory / "postmaster.pid").unlink(missing_ok=True)
        if self._sockets is not None:
            (self._sockets / ".s.PGSQL.5432.lock").unlink(missing_ok=True)

    def clean_up(self) -> None:
        """Remove the socket's directory, if it is one in /tmp."""
        if self._made_sockets and self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)

    def last_words(self) -> str:
        """The last line of the server's log, to tell why it did not start."""
        try:
            lines = self.log.read_text(errors="replace").strip().splitlines()
        except OSError:
            return ""
        fatal = [line for line in lines[-20:] if "FATAL" in line]
        return (fatal or lines or [""])[-1]

    def _refuse_other_majors(self) -> None:
        """An empty database beside one with undelivered messages would lose them: refuse."""
        for other in sorted(self._data_dir.glob("postgresql-*")):
            major = other.name.removeprefix("postgresql-")
            if not major.isdigit() or other == self.directory:
                continue
            raise ConfigurationError(
                f"{other} was made by PostgreSQL {major}, this is {self.binaries.major}. While no syncproxy runs, "
                f"start PostgreSQL {major} on it and take a pg_dump, move {other} away, and restore with psql: "
                'docs/how-to/operate.md, "Move to another major version of PostgreSQL", has the commands.'
            )

    def _initialise(self) -> None:
        """Run initdb beside the final name: a directory that is there is complete."""
        partial = self.directory.with_name(f"{self.directory.name}.part")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        os.chown(partial, self.user.uid, self.user.gid)
        # what initdb is given is where it works: the user may be unable to enter the directories above it
        answer = subprocess.run(
            [
                *(self.binaries.directory / "initdb", "-D", _own_directory(partial, self.user), "-U", ROLE),
                *("--auth=peer", "-E", "UTF8", "--locale=C", "--no-instructions"),
            ],
            cwd=partial,
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
            **self.user.popen_arguments(),
        )
        if answer.returncode != 0:
            words = (answer.stderr.strip() or answer.stdout.strip() or "it said nothing").splitlines()[-1]
            raise ConfigurationError(f"initdb could not make {self.directory}: {words}")
        partial.rename(self.directory)

    def _admit_ourselves(self) -> None:
        """Let in the user that we are and the one that the server is, as our role; nobody else."""
        names = sorted({our_name(), self.user.name})
        quoted = [name.replace('"', '""') for name in names]
        ident = "".join(f'syncproxy "{name}" {ROLE}\n' for name in quoted)
        (self.directory / "pg_ident.conf").write_text(ident)
        (self.directory / "pg_hba.conf").write_text(f"local all {ROLE} peer map=syncproxy\n")

    def _make_sockets(self) -> None:
        """The socket's directory: beside the data, or in /tmp if that path is too long or closed to the user."""
        beside = self._data_dir / "run"
        if len(os.fsencode(beside)) <= _LONGEST_DIRECTORY and _may_enter(self._data_dir, self.user):
            beside.mkdir(mode=0o700, exist_ok=True)
            self._sockets = beside
        else:
            self._sockets = Path(tempfile.mkdtemp(prefix="syncproxy-"))
            self._made_sockets = True
        os.chown(self._sockets, self.user.uid, self.user.gid)

    def _directory_argument(self) -> tuple[str, str]:
        return "-D", _own_directory(self.directory, self.user)

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self.directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []


def lock(data_dir: Path) -> int:
    """Make `data_dir` and take its lock; the file descriptor holds it, until it is closed or we die."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # as root: the database user passes through to its own directory, and sees no more than that
        data_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)
        held = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigurationError(f"--data-dir {data_dir}: {error.strerror}; name one that can be written.") from None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise InUse(f"Another syncproxy runs on {data_dir}: stop it, or give another --data-dir.") from None
    return held


def _own_directory(directory: Path, user: DatabaseUser) -> str:
    """How the user names a directory that it works in, even if it may not enter those above it (a root's home)."""
    return str(directory) if _may_enter(directory.parent, user) else "/proc/self/cwd"


def _may_enter(directory: Path, user: DatabaseUser) -> bool:
    """Whether `user` can reach what is in that directory."""
    if user.is_us:
        return True
    answer = subprocess.run(["/bin/sh", "-c", 'cd "$0"', directory], capture_output=True, check=False, cwd="/",
                            **user.popen_arguments())  # fmt: skip
    return answer.returncode == 0


def _works_in(pid: int, directory: Path) -> bool:
    """Whether a process lives and has that working directory, as a server of ours has."""
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    try:
        return Path(os.readlink(f"/proc/{pid}/cwd")) == directory.resolve()
    except FileNotFoundError:
        # no /proc here, so that the pid file has to be believed; or the process ended this moment
        return not Path("/proc/self").exists()
    except PermissionError:
        return False


def _dying_with_parent() -> Callable[[], None] | None:
    """What a child runs after setuid (which would clear it): ask the kernel for SIGINT when we die. Linux only."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "prctl"):
        return None
    parent, number = os.getpid(), int(signal.SIGINT)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)

    return ask


def _environment() -> dict[str, str]:
    """Nothing of ours goes to the server: `PGDATA` and the like would change it."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}
