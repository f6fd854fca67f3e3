"""Documents as PDF: set by a process of its own, so many at a time, each within a time."""

import asyncio
import contextlib
import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from backoffice_worker.typesetter import REFUSED
from llegada.messaging.failures import Permanent, Transient

_SECONDS = 15.0
"""Less than the ledger's limit of a call (20 s), so that the process is ended by the one who started it."""
_HEAD = 4
_ADVICE = "Correct the data that the document is made of, and make it again."


@dataclass(frozen=True)
class Rendered:
    content: bytes
    pages: int


class Typesetter:
    """`parallel`: processes at a time; each may take 0.5 GB for a table over many pages."""

    def __init__(self, parallel: int, seconds: float = _SECONDS) -> None:
        self._turns = asyncio.Semaphore(parallel)
        self._seconds = seconds

    async def render(self, template: str, data: dict[str, Any]) -> Rendered:
        """Raises Permanent where the data cannot be set, Transient where the process broke or was too slow."""
        async with self._turns:
            code, out, said = await self._run(template, json.dumps(data).encode())
        if code == REFUSED:
            raise Permanent(f"the {template} cannot be set: {said[:300]}", code="typesetting", advice=_ADVICE)
        if code != 0:
            raise Transient(f"the typesetter ended with {code}: {said[-300:]}", code="typesetter")
        return Rendered(out[_HEAD:], int.from_bytes(out[:_HEAD], "big"))

    async def _run(self, template: str, data: bytes) -> tuple[int, bytes, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "backoffice_worker.typesetter",
            template,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "RAYON_NUM_THREADS": "1"},  # many documents at a time instead of many threads in one
        )
        try:
            async with asyncio.timeout(self._seconds):
                out, said = await process.communicate(data)
        except TimeoutError as error:
            raise Transient(f"the {template} was not set within {self._seconds:g} s", code="time-out") from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):  # it ended just now
                    process.kill()
                await process.wait()
        assert process.returncode is not None  # communicate waits for it
        return process.returncode, out, said.decode("utf-8", "replace").strip()
