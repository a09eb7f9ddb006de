"""What a row is measured with: the stand-in, the server, the load client and the floor, each a process of its own."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import attrs
import msgspec

from benchmarks.database import count_statements, prepare
from benchmarks.homeserver.app import AddGroup, Emit, StartFlood
from benchmarks.homeserver.emission import Emitted, FloodResult
from benchmarks.homeserver.world import Group
from benchmarks.load.jobs import Done, Holding, Job, Session
from benchmarks.processes import Child, free_port, python
from benchmarks.requests import DIALECTS, Dialect
from benchmarks.server import Server

#: in the server's data directory: its long turns
TURNS = "turns.jsonl"
_HEALTHY_S = 60
_CONTROL_S = 600


class NotMeasured(Exception):
    """A row could not be measured; says why."""


class Identity(msgspec.Struct):
    """A user of the stand-in."""

    user_id: str
    token: str


@attrs.frozen
class Options:
    """What the command line says."""

    seed: str
    full: bool = False
    target: str | None = None
    target_pid: int | None = None
    database: str | None = None
    homeserver_port: int | None = None
    dialect: str = "msc4186"
    #: users in more rooms are left out
    most_rooms: int = 2000
    #: the homeserver is a real one, which stores less than the stand-in says
    native: bool = False

    def amount(self, short: float, full: float) -> float:
        """One of two amounts, of seconds or of requests."""
        return full if self.full else short

    def rate(self, stand_in: float, native: float) -> float:
        """One of two rates: a real homeserver's own sliding sync keeps up with the lower one."""
        return native if self.native else stand_in

    def sizes(self, rooms: Sequence[int]) -> list[int]:
        """Those of these numbers of rooms that are wanted; the first in any case."""
        return [rooms[0], *(number for number in rooms[1:] if number <= self.most_rooms)]


class Homeserver:
    """The stand-in, and what it is told."""

    def __init__(self, port: int, child: Child, seed: str) -> None:
        self.port = port
        self.child = child
        self._seed = seed

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def add(self, group: Group) -> list[Identity]:
        """Make users and rooms."""
        return msgspec.json.decode(self._post("groups", AddGroup(self._seed, group)), type=list[Identity])

    def emit(self, group: str, rate: float, seconds: float, *, even: bool = False) -> list[Emitted]:
        """Make events at a rate, at random times or all as far apart; returns when all are made."""
        return msgspec.json.decode(self._post("emit", Emit(group, rate, seconds, even)), type=list[Emitted])

    def start_flood(self, group: str, *, joins: bool = False, repeats: bool = False) -> None:
        """Answer each poll of a group at once, with a new message, a join, or what was said last."""
        self._post("flood", StartFlood(group, joins, repeats))

    def calm(self) -> FloodResult:
        """End the flood."""
        return msgspec.json.decode(self._post("calm", None), type=FloodResult)

    def _post(self, what: str, body: object) -> bytes:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_CONTROL_S)
        try:
            connection.request("POST", f"/control/{what}", msgspec.json.encode(body))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise NotMeasured(f"the stand-in refused {what}: {content!r}")
        return content


class LoadClient:
    """A process that does jobs, one at a time."""

    def __init__(self, child: Child) -> None:
        self._child = child

    def do(self, job: Job, *, holding: Callable[[], None] = lambda: None) -> Done:
        """Have it do a job; `holding` runs when it is in place."""
        self._child.to.write(msgspec.json.encode(job) + b"\n")
        self._child.to.flush()
        said = self._said()
        if isinstance(said, Holding):
            holding()
            said = self._said()
        if not isinstance(said, Done):
            raise NotMeasured("the load client holds twice")
        return said

    def _said(self) -> Done | Holding:
        line = self._child.by.readline()
        if not line:
            raise NotMeasured(f"the load client ended:\n{self._child.last_words()}")
        return msgspec.json.decode(line, type=Done | Holding)


class Bench:
    """Everything that a run needs; `with` starts what all rows share, and stops it. `native`: there is no stand-in."""

    def __init__(self, options: Options, native: Homeserver | None = None) -> None:
        self.options = options
        self._native = native
        self._stack = ExitStack()
        self._children: list[Child] = []
        #: why all processes were killed, if they were
        self._over: str | None = None

    def __enter__(self) -> Bench:
        directory = tempfile.TemporaryDirectory(prefix="syncproxy-bench-", ignore_cleanup_errors=True)
        self._directory = Path(self._stack.enter_context(directory))
        # the embedded database's user passes through
        self._directory.chmod(0o711)
        self._load = LoadClient(self._child("load", python("benchmarks.load"), talks=True))
        self.homeserver = self._native or self._stand_in()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()

    @contextmanager
    def limited(self, seconds: float) -> Iterator[None]:
        """After so long all processes are killed, so that nobody waits for one any more; then NotMeasured."""

        def kill() -> None:
            self._over = f"not done in {seconds:g} s"
            for child in self._children:
                child.kill()

        timer = threading.Timer(seconds, kill)
        timer.daemon = True
        timer.start()
        try:
            yield
        except Exception:
            # whatever it met when they were gone
            self._may_go_on()
            raise
        finally:
            timer.cancel()
        self._may_go_on()

    def _may_go_on(self) -> None:
        if self._over is not None:
            raise NotMeasured(self._over)

    def _stand_in(self) -> Homeserver:
        port = self.options.homeserver_port or free_port()
        child = self._child("homeserver", python("benchmarks.homeserver", "--port", str(port)))
        child.listens(port)
        return Homeserver(port, child, self.options.seed)

    @property
    def dialect(self) -> Dialect:
        """How the rows ask that leave it to the command line."""
        return DIALECTS[self.options.dialect]

    @contextmanager
    def server(self, *, watched: bool = False, data: Path | None = None) -> Iterator[Server]:
        """The server to measure: a new proxy with an empty database, or the one that `--target` names.

        `watched`: the proxy's long turns are noted, which costs a little with every turn. `data`: the proxy's data
        directory, which is left as it is in the end; default: a new one.
        """
        if self.options.target is not None:
            url = urlsplit(self.options.target)
            yield Server(url.hostname or "127.0.0.1", url.port or 80, self.options.target_pid)
            return
        with ExitStack() as stack:
            data = data or stack.enter_context(self.new_directory())
            port, metrics_port = free_port(), free_port()
            database = self.options.database or f"host={data}/run user=syncproxy dbname=postgres"
            is_new = self.options.database is None and prepare(data)
            if self.options.database is not None:
                count_statements(database)
            began_s = time.monotonic()
            child = self._child("proxy", self._proxy_command(port, metrics_port, data, watched))
            try:
                child.listens(port)
                _wait_healthy(port)
                healthy_s = time.monotonic() - began_s
                if is_new:
                    # once for all of its starts: none of their times has it
                    count_statements(database)
                turns = data / TURNS if watched else None
                yield Server("127.0.0.1", port, child.pid, database, metrics_port, began_s, healthy_s, turns)
            except NotMeasured as problem:
                raise NotMeasured(f"{problem}\n{child.last_words()}") from None
            finally:
                child.stop()

    @contextmanager
    def new_directory(self) -> Iterator[Path]:
        """A directory, gone in the end."""
        with tempfile.TemporaryDirectory(prefix="data-", dir=self._directory) as name:
            yield Path(name)

    @contextmanager
    def floor(self, body: str) -> Iterator[Server]:
        """A plain Klein resource that answers this."""
        path, port = self._directory / "floor-body.json", free_port()
        path.write_text(body)
        with self._serving(python("benchmarks.floor", "--port", str(port), "--body", path), port) as floor:
            yield floor

    @contextmanager
    def relay(self) -> Iterator[Server]:
        """A poller and a held request with nothing in between."""
        port = free_port()
        command = python("benchmarks.relay", "--port", str(port), "--homeserver", self.homeserver.url)
        with self._serving(command, port) as relay:
            yield relay

    @contextmanager
    def _serving(self, command: list[str | Path], port: int) -> Iterator[Server]:
        began_s = time.monotonic()
        child = self._child("floor", command)
        try:
            child.listens(port)
            yield Server("127.0.0.1", port, child.pid, began_s=began_s)
        finally:
            child.stop()

    def do(self, job: Job, *, holding: Callable[[], None] = lambda: None) -> Done:
        """Have the load client do a job; `holding` runs when it is in place."""
        return self._load.do(job, holding=holding)

    @contextmanager
    def another_client(self) -> Iterator[LoadClient]:
        """A load client beside the one that measures, to make work for the server meanwhile."""
        child = self._child("load", python("benchmarks.load"), talks=True)
        try:
            yield LoadClient(child)
        finally:
            child.stop()

    def _child(self, name: str, command: list[str | Path], *, talks: bool = False) -> Child:
        """A process, stopped in the end at the latest."""
        self._may_go_on()
        child = Child(command, self._directory / f"{name}.log", talks=talks)
        self._children.append(child)
        self._stack.callback(child.stop)
        return child

    def _proxy_command(self, port: int, metrics_port: int, data: Path, watched: bool) -> list[str | Path]:
        given = [] if self.options.database is None else ["--database", self.options.database]
        twistd = [Path(sys.executable).with_name("twistd")]
        return [
            *(python("benchmarks.turns", data / TURNS) if watched else twistd),
            *("-n", "--pidfile=", "syncproxy"),
            *("--homeserver", self.homeserver.url),
            *("--listen", f"tcp:{port}:interface=127.0.0.1", "--data-dir", data, "--log-level", "warn"),
            *("--metrics", f"tcp:{metrics_port}:interface=127.0.0.1"),
            *given,
        ]


def sessions(users: list[Identity], each: int = 1) -> list[Session]:
    """`each` clients of every user, told apart by `conn_id`."""
    return [Session(user.token, f"room-list{number or ''}") for number in range(each) for user in users]


def _wait_healthy(port: int) -> None:
    deadline = time.monotonic() + _HEALTHY_S
    while time.monotonic() < deadline:
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        finally:
            connection.close()
        time.sleep(0.01)
    raise NotMeasured("the proxy did not get healthy")
