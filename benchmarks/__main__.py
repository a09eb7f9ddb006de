"""`python -m benchmarks`: measures the rows of the table in issue 6, prints them, writes them as JSON."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Iterable
from pathlib import Path

import attrs
import msgspec

from benchmarks import ratios
from benchmarks.baseline import HOW_TO_CHANGE, Baseline, medians, worse
from benchmarks.bench import Bench, NotMeasured, Options
from benchmarks.figures import Measurement, Ran, Report
from benchmarks.native import Native
from benchmarks.processes import NotStarted
from benchmarks.report import lines, side_by_side
from benchmarks.requests import DIALECTS
from benchmarks.rows import NATIVE_ROWS, ROWS

#: for a row, or for the ratios: a quiet machine takes half of it at the most
_ROW_S = 900


def main() -> int:
    """Read the command line and measure. Exit status 1 if a row could not be measured, had problems, or got worse."""
    given = _arguments()
    # who ends us ends what we started
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    # a server that was measured before knows the users of that run: then others are needed
    seed = given.seed or ("1" if given.target is given.native is None else f"{int(time.time()):x}")
    options = Options(
        seed=seed,
        full=given.full,
        dialect=given.dialect,
        target=given.target,
        target_pid=given.target_pid,
        database=given.database,
        homeserver_port=given.homeserver_port,
        most_rooms=given.most_rooms,
        native=given.native is not None,
    )
    if given.native is not None:
        return _native(options, given)
    if given.ratios or given.compare:
        return _ratios(options, given.ratios, given.compare)
    _, well = _rows(options, given.rows, given.json)
    return int(not well)


def _rows(options: Options, rows: list[int], path: Path, native: Native | None = None) -> tuple[Report, bool]:
    """Measure rows, print and write them; whether all went well."""
    report = Report(
        started=_now(),
        full=options.full,
        seed=options.seed,
        target=options.target or "syncproxy, started for this run",
        dialect=options.dialect,
        machine=_machine(),
    )
    for row in rows:
        report.rows.append(_row(row, options, native, report.measurements))
        _write(path, report)
    print(f"written to {path}")
    well = not any(ran.failure for ran in report.rows) and not any(one.problems for one in report.measurements)
    return report, well


def _row(row: int, options: Options, native: Native | None, found: list[Measurement]) -> Ran:
    """Measure a row with processes of its own, and print it; however it fails, the next one can be measured."""
    began_s, failure = time.monotonic(), ""
    try:
        with Bench(options, native) as bench, bench.limited(_ROW_S):
            for one in ROWS[row](bench):
                found.append(one)
                print("\n".join(lines(one)), flush=True)
    except (NotMeasured, NotStarted) as problem:
        failure = str(problem)
    except Exception as problem:
        traceback.print_exc()
        failure = f"{type(problem).__name__}: {problem}"
    ran = Ran(row, round(time.monotonic() - began_s, 1), failure)
    print(f"{row:>2}  {f'NOT MEASURED: {failure}' if failure else 'done'} ({ran.seconds:g} s)", flush=True)
    return ran


def _native(options: Options, given: argparse.Namespace) -> int:
    """Measure a homeserver's own sliding sync, then the proxy's before the same homeserver; print both side by side."""
    native = Native(given.native, given.native_secret, options.seed)
    rows = [row for row in given.rows if row in NATIVE_ROWS]
    print(f"{given.native} itself")
    own_options = attrs.evolve(options, target=given.native)
    own, well = _rows(own_options, rows, given.json.with_stem(f"{given.json.stem}-native"), native)
    print(f"syncproxy before {given.native}")
    proxied, also_well = _rows(options, rows, given.json, native)
    print("\n".join(side_by_side(proxied.measurements, own.measurements)))
    return int(not well or not also_well)


def _ratios(options: Options, path: Path | None, committed: Path | None) -> int:
    """Measure the ratios that can be compared; write them, compare them."""
    rounds: dict[str, list[float]] = {}
    machine = _machine()
    try:
        with Bench(options) as bench, bench.limited(_ROW_S):
            for each in ratios.measure(bench):
                for name, value in each.items():
                    rounds.setdefault(name, []).append(value)
    except (NotMeasured, NotStarted) as problem:
        print(f"NOT MEASURED: {problem}")
        return 1
    found = Baseline(made=_now(), machine=machine, ratios=medians(rounds), rounds=rounds)
    for name, value in found.ratios.items():
        print(f"{name}: {value:.2f} x the floor (rounds: {', '.join(f'{one:.2f}' for one in rounds[name])})")
    if path is not None:
        _write(path, found)
    got_worse = [] if committed is None else list(worse(found.ratios, _baseline(committed).ratios))
    for line in got_worse:
        print(f"WORSE  {line}")
    if got_worse:
        print(HOW_TO_CHANGE.format(path=committed))
    return int(bool(got_worse))


def _baseline(path: Path) -> Baseline:
    return msgspec.json.decode(path.read_bytes(), type=Baseline)


def _write(path: Path, what: Report | Baseline) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(what), indent=1) + b"\n")


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--full", action="store_true", help="longer runs, for figures that are to be kept")
    parser.add_argument("--rows", type=_row_numbers, default=list(ROWS), help=f"such as 1,4; default: {_listed(ROWS)}")
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="where the results go (bench.json)")
    parser.add_argument(
        "--ratios", type=Path, help="measure the ratios that can be compared, and write them to this file"
    )
    parser.add_argument("--compare", type=Path, help="measure the ratios and compare them with those in this file")
    parser.add_argument("--seed", help="of users, rooms and times of events")
    parser.add_argument("--database", help="libpq connection string; default: the embedded PostgreSQL")
    parser.add_argument("--target", help="URL of a running sliding sync server, whose homeserver is --homeserver-port")
    parser.add_argument("--target-pid", type=int, help="its process, if it runs here")
    parser.add_argument("--dialect", choices=DIALECTS, default="msc4186", help="how all rows ask (msc4186)")
    parser.add_argument("--native", help="URL of a homeserver that has MSC4186 itself: rows 1, 3 and 4 of both")
    parser.add_argument("--native-secret", help="its registration_shared_secret; default: anyone may register there")
    parser.add_argument("--most-rooms", type=int, default=2000, help="leave out users in more rooms (2000)")
    parser.add_argument("--homeserver-port", type=int, help="of the stand-in on 127.0.0.1; default: a free one")
    given = parser.parse_args()
    if given.target is not None and given.homeserver_port is None:
        parser.error("--target needs --homeserver-port: the port that the server expects its homeserver on")
    return given


def _row_numbers(text: str) -> list[int]:
    rows = [int(part) for part in text.split(",")]
    if not set(rows) <= set(ROWS):
        raise argparse.ArgumentTypeError(f"rows are {_listed(ROWS)}")
    return rows


def _listed(rows: Iterable[int]) -> str:
    return ", ".join(map(str, rows))


def _machine() -> dict[str, object]:
    return {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }


if __name__ == "__main__":
    sys.exit(main())
