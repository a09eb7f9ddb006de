"""Reads that run side by side."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, cast

from twisted.internet.defer import FirstError, ensureDeferred, gatherResults


async def together(*reads: Awaitable[Any]) -> list[Any]:
    """Run reads side by side; their results in order. The first error is raised as it is."""
    try:
        return list(await gatherResults([ensureDeferred(_awaited(read)) for read in reads], consumeErrors=True))
    except FirstError as error:
        raise cast(BaseException, error.subFailure.value) from None


async def _awaited(read: Awaitable[Any]) -> Any:
    return await read
