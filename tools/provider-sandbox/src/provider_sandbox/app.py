"""The sandbox's process: the providers under a path each, SMTP on its own port, and the control API."""

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from typing import Any

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.routing import Mount

from provider_sandbox import smtp
from provider_sandbox.bold import Bold
from provider_sandbox.control import PROBLEMS, Control
from provider_sandbox.effects import Effects
from provider_sandbox.exchange import Cuttable
from provider_sandbox.faults import Faults
from provider_sandbox.sire import Sire
from provider_sandbox.ttlock import TTLock
from provider_sandbox.webhooks import Sender
from provider_sandbox.whatsapp import WhatsApp


class Sandbox:
    """All providers and the control API. `latency`: seconds that every provider takes (number or distribution)."""

    def __init__(self, latency: Any = None) -> None:
        effects, self.faults, self.sender = Effects(), Faults(latency), Sender()
        bold, whatsapp = Bold(effects, self.faults), WhatsApp(effects, self.faults, self.sender)
        self.mailbox, ttlock = smtp.Mailbox(effects, self.faults), TTLock(effects, self.faults)
        sire = Sire(effects, self.faults)
        control = Control(effects, self.faults, bold, whatsapp, self.mailbox, ttlock, sire, self.sender)
        routes = [
            Mount("/bold", routes=bold.routes()),
            Mount("/whatsapp", routes=whatsapp.routes()),
            Mount("/ttlock", routes=ttlock.routes()),
            Mount("/sire", routes=sire.routes()),
            Mount("/_sandbox", routes=control.routes()),
        ]
        self.app = Cuttable(Starlette(routes=routes, exception_handlers=PROBLEMS))


@dataclass(frozen=True)
class Addresses:
    http: str
    smtp: str


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """uvicorn raises a signal again when it is done, which would end the process as if killed."""
        yield


@contextlib.asynccontextmanager
async def serving(sandbox: Sandbox, host: str, port: int, smtp_port: int) -> AsyncGenerator[Addresses]:
    """Serve HTTP and SMTP inside the block; port 0 takes a free one. Raises OSError if a port is taken."""
    with contextlib.ExitStack() as until_served:
        web, mail = (until_served.enter_context(_listener(host, number)) for number in (port, smtp_port))
        until_served.pop_all()
    mail_server = await smtp.start(sandbox.mailbox, sandbox.faults, mail)
    config = uvicorn.Config(
        sandbox.app,
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        http="httptools",
        loop="uvloop",
        proxy_headers=False,
        timeout_keep_alive=60,
        timeout_graceful_shutdown=1,
    )
    server = _Server(config)
    running = asyncio.create_task(server.serve([web]))
    try:
        yield Addresses(f"http://{_shown(web)}", f"smtp://{_shown(mail)}")
    finally:
        server.should_exit = True
        await running
        mail_server.close()
        await sandbox.sender.close()


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)


def _shown(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def run(host: str, port: int, smtp_port: int, latency: Any) -> None:
    """Until SIGTERM or SIGINT. Prints the addresses as soon as clients can connect to them."""
    over = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, over.set)
    async with serving(Sandbox(latency), host, port, smtp_port) as addresses:
        print(f"provider sandbox ready: {addresses.http} {addresses.smtp}", flush=True)
        await over.wait()


def latency_of(text: str) -> Any:
    """`2` is 2 s, `1-3` is uniform between 1 and 3 s; None for 0."""
    low, dash, high = text.partition("-")
    try:
        numbers = [float(low), float(high) if dash else float(low)]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither seconds like 2 nor a range like 1-3") from None
    if not 0 <= numbers[0] <= numbers[1]:
        raise argparse.ArgumentTypeError(f"{text!r} must go from less to more")
    return {"uniform": numbers} if numbers[1] > 0 else None


def main() -> None:
    parser = argparse.ArgumentParser("provider-sandbox", description="Bold, WhatsApp, TTLock, a SIRE gateway and SMTP")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080, help="HTTP; 0 takes a free one")
    parser.add_argument("--smtp-port", type=int, default=2525, help="0 takes a free one")
    parser.add_argument("--latency", type=latency_of, default=None, metavar="SECONDS", help="like 2, or 1-3; default 0")
    chosen = parser.parse_args()
    logging.getLogger("mail.log").setLevel(logging.ERROR)  # aiosmtpd's, a line per command
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(chosen.host, chosen.port, chosen.smtp_port, chosen.latency))
    except OSError as error:
        parser.exit(1, f"provider-sandbox: cannot listen: {error}\n")
