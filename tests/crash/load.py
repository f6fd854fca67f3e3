"""Reservations as careful clients make them: the same request with the same key until it is answered."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from llegada_dev.system import System

PATIENCE = 240.0  # seconds for one request to be answered, whatever is being killed


async def create(client: httpx.AsyncClient, number: int) -> int:
    """The id of reservation `number`: each is of another guest, whose phone number tells which."""
    body = {"guestName": f"Guest {number}", "contact": f"+57300{number:07}", "amount": 180_000}
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            answer = await client.post("/api/reservations", json=body, headers={"Idempotency-Key": f"crash-{number}"})
        except httpx.TransportError:
            await asyncio.sleep(0.1)
            continue
        if answer.status_code == httpx.codes.CREATED:
            return int(answer.json()["data"]["id"])
        if answer.status_code < httpx.codes.INTERNAL_SERVER_ERROR:
            raise AssertionError(f"refused: {answer.text}")
        await asyncio.sleep(0.1)
    raise AssertionError(f"reservation {number} was never answered")


class FrontDoor(httpx.AsyncBaseTransport):
    """As a gateway does: each request goes to the next of the API's replicas. `apis` may change all the time."""

    def __init__(self, apis: list[str]) -> None:
        self._apis = apis
        self._inner = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_connections=100))
        self._count = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if not self._apis:
            raise httpx.ConnectError("no replica is there")
        self._count += 1
        api = httpx.URL(self._apis[self._count % len(self._apis)])
        request.url = request.url.copy_with(host=api.host, port=api.port)
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        await self._inner.aclose()


def client_of(made: System, apis: list[str] | None = None, seconds: float = 10) -> httpx.AsyncClient:
    """`apis`: where requests go in turn, instead of the first replica. `seconds`: for one try."""
    door = FrontDoor([made.api] if apis is None else apis)
    headers = {"Authorization": f"Bearer {made.token}"}
    return httpx.AsyncClient(base_url=made.api, headers=headers, timeout=seconds, transport=door, trust_env=False)


@asynccontextmanager
async def desks(
    made: System, count: int, pace: float, apis: list[str] | None = None, first: int = 0, seconds: float = 10
) -> AsyncIterator[list[int]]:
    """So many front desks, each with a reservation every `pace` seconds until the block ends; the accepted ids.

    `first`: the number of the first desk, of whose number its guests' are made.
    """
    ids, stopping = list[int](), asyncio.Event()

    async def desk(number: int) -> None:
        async with client_of(made, apis, seconds) as client:
            while not stopping.is_set():
                ids.append(await create(client, number))
                number += 1
                await asyncio.sleep(pace)

    async with asyncio.TaskGroup() as tasks:
        for number in range(first + 1, first + count + 1):
            tasks.create_task(desk(100_000 * number))
        try:
            yield ids
        finally:
            stopping.set()


async def make(made: System, count: int, first: int = 0) -> list[int]:
    """So many reservations; `first` numbers them."""
    limit = asyncio.Semaphore(10)
    async with client_of(made) as client:

        async def one(number: int) -> int:
            async with limit:
                await asyncio.sleep(0.05)
                return await create(client, number)

        return list(await asyncio.gather(*(one(number) for number in range(first, first + count))))
