"""Waiting for what shall become true, instead of sleeping for as long as it might take."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(check: Callable[[], Awaitable[T]], seconds: float = 10.0, what: str = "") -> T: ...
@overload
async def eventually(check: Callable[[], T], seconds: float = 10.0, what: str = "") -> T: ...
async def eventually(check: Callable[[], Any], seconds: float = 10.0, what: str = "") -> Any:
    """Call `check` until it answers something true, and return that; AssertionError after `seconds`.

    An AssertionError inside `check` counts as "not yet", so that `check` may simply assert.
    """
    deadline = time.monotonic() + seconds
    last: object = None
    while True:
        try:
            answer = check()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return answer
            last = answer
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or check}; last seen: {last!r}")
        await asyncio.sleep(0.02)
