"""One real sandbox process per test worker, as its users start it; each test finds it as new."""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

import httpx
import pytest
import pytest_asyncio

BOLD = {"Authorization": "x-api-key merchant-1"}
META = {"Authorization": "Bearer token"}
START = [sys.executable, "-c", "from provider_sandbox.app import main; main()", "--port", "0", "--smtp-port", "0"]


@dataclass(frozen=True)
class Running:
    http: str
    mail_port: int


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    """SIGTERM must end it cleanly, and it must have had nothing to complain about."""
    complaints = tmp_path_factory.mktemp("sandbox") / "stderr"
    with (
        complaints.open("w") as stderr,
        subprocess.Popen(START, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        assert process.stdout is not None
        *_, http, smtp = process.stdout.readline().split()
        yield Running(http, int(smtp.rpartition(":")[2]))
        process.terminate()
        assert process.wait(10) == 0
    assert complaints.read_text() == ""


@dataclass(frozen=True)
class Client:
    """What a test says to the sandbox, in the words of its promise."""

    http: httpx.AsyncClient

    async def create_link(self, body: dict[str, Any], key: dict[str, str] = BOLD, **more: Any) -> httpx.Response:
        return await self.http.post("/bold/online/link/v1", json=body, headers=key, **more)

    async def send(self, body: Any, number: str = "1000000001", token: dict[str, str] = META) -> httpx.Response:
        return await self.http.post(f"/whatsapp/v23.0/{number}/messages", json=body, headers=token)

    async def effects(self, **filters: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.http.get("/_sandbox/effects", params=filters)).json()
        return found

    async def fault(self, **order: Any) -> int:
        answer = await self.http.post("/_sandbox/faults", json=order)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    async def configure(self, provider: str, **changes: Any) -> None:
        answer = await self.http.patch(f"/_sandbox/settings/{provider}", json=changes)
        assert answer.status_code == 200, answer.text

    async def settled(self) -> None:
        """Until nothing can make an effect any more."""
        async with asyncio.timeout(5):
            while (await self.http.get("/_sandbox/health")).json()["in_flight"]:
                pass


@pytest_asyncio.fixture
async def client(running: Running) -> AsyncGenerator[Client]:
    # verify=False: reading all certificates takes longer than most tests, and there is no TLS here.
    async with httpx.AsyncClient(base_url=running.http, timeout=5, trust_env=False, verify=False) as http:
        for what in ("faults", "settings", "effects"):
            assert (await http.delete(f"/_sandbox/{what}")).status_code == 204
        yield Client(http)


@pytest.fixture
def link() -> Callable[..., dict[str, Any]]:
    def made(**changes: Any) -> dict[str, Any]:
        body: dict[str, Any] = {
            "amount_type": "CLOSE",
            "amount": {"currency": "COP", "total_amount": 180_000, "tip_amount": 0, "taxes": []},
            "reference": "RES-17-1",
            "description": "Reserva 17",
            "expiration_date": time.time_ns() + 10**12,
        }
        return body | changes

    return made


@pytest.fixture
def template() -> Callable[..., dict[str, Any]]:
    def made(*texts: str, **changes: Any) -> dict[str, Any]:
        parameters = [{"type": "text", "text": text} for text in texts or ("Ana", "https://a.test", "https://b.test")]
        inner = {
            "name": "reservation_checkin_invitation",
            "language": {"code": "es"},
            "components": [{"type": "body", "parameters": parameters}],
        }
        return {"messaging_product": "whatsapp", "to": "573001234567", "type": "template", "template": inner | changes}

    return made


@pytest.fixture
def mail() -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@hostal.test", "b@guest.test", "Hola"
    message["Message-ID"] = "<own@hostal.test>"
    message.set_content("Hola Ana")
    return message


@dataclass
class Receiver:
    """A service that webhooks are sent to: what it got, in order."""

    url: str
    answers: list[int] = field(default_factory=list)
    """Statuses to answer; 200 when they are used up."""
    got: asyncio.Queue[tuple[dict[str, str], bytes]] = field(default_factory=asyncio.Queue)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode().lower():
                headers = dict(line.split(": ", 1) for line in head.splitlines()[1:] if ": " in line)
                self.got.put_nowait((headers, await reader.readexactly(int(headers["content-length"]))))
                status = self.answers.pop(0) if self.answers else 200
                writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
                await writer.drain()
                break
        finally:
            writer.close()

    async def next(self) -> tuple[dict[str, str], bytes]:
        return await asyncio.wait_for(self.got.get(), 5)


@pytest_asyncio.fixture
async def receiver() -> AsyncGenerator[Receiver]:
    made = Receiver("")
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    async with server:
        yield made
