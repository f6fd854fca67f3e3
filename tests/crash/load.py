"""Reservations as careful clients make them: the same request with the same key until it is answered."""

import asyncio
import time

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


def client_of(made: System) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {made.token}"}
    return httpx.AsyncClient(base_url=made.api, headers=headers, timeout=10, trust_env=False)


async def make(made: System, count: int, first: int = 0) -> list[int]:
    """So many reservations; `first` numbers them."""
    limit = asyncio.Semaphore(10)
    async with client_of(made) as client:

        async def one(number: int) -> int:
            async with limit:
                await asyncio.sleep(0.05)
                return await create(client, number)

        return list(await asyncio.gather(*(one(number) for number in range(first, first + count))))
