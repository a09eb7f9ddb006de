"""`python -m benchmarks.homeserver --port 8448`: serves until it is stopped."""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal

from benchmarks.homeserver.app import App
from benchmarks.homeserver.http import listen


async def serve(port: int) -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = await listen(App().serve, port)
    await stop.wait()
    server.close()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="benchmarks.homeserver", description="A homeserver stand-in.")
    parser.add_argument("--port", type=int, default=8448)
    # collections of a large world would be seen as latency of who is measured
    gc.disable()
    asyncio.run(serve(parser.parse_args().port))


if __name__ == "__main__":
    main()
