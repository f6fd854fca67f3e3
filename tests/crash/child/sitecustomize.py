"""Installs the crash points in a service's process, from outside: production code knows nothing of them.

Python imports this module at its start, where tests/crash/child stands in PYTHONPATH. `CRASH_AT` names the point,
`CRASH_ON` the passage (from 1) at which it happens, `CRASH_HOW` what: the process ends itself with SIGKILL (`kill`),
stops itself (`stop`), or ends the broker `CRASH_BROKER` (`broker`), which is stopped before the write, so that it has
certainly not taken it. `CRASH_PLANT` plants a bug that the harness must find (planted.py). `CRASH_LEASE`: leases of so
many seconds, so that what a dead process left behind is taken up soon. `CRASH_HEARTBEAT`: seconds between heartbeats
to the broker, so that it notices a process that stands still soon. `CRASH_COPIES`: see copies.py.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

POINT, PASSAGE, HOW = (os.environ.get(name, "") for name in ("CRASH_AT", "CRASH_ON", "CRASH_HOW"))
BROKER, LEASE, HEARTBEAT = (int(os.environ.get(f"CRASH_{name}", "0")) for name in ("BROKER", "LEASE", "HEARTBEAT"))
_passages = 0
_where: ContextVar[str] = ContextVar("where", default="")


def reached(point: str) -> None:
    """The process passes `point`."""
    global _passages  # noqa: PLW0603 - one counter per process
    if point != POINT:
        return
    _passages += 1
    if _passages == int(PASSAGE or "1"):
        if HOW == "broker":
            os.killpg(BROKER, signal.SIGKILL)
        else:
            os.kill(os.getpid(), signal.SIGSTOP if HOW == "stop" else signal.SIGKILL)


def around(owner: Any, name: str, *, before: str = "", after: str = "", if_: Callable[..., bool] | None = None) -> None:
    """Make an async function pass two points."""
    original = getattr(owner, name)

    async def wrapper(*arguments: Any, **more: Any) -> Any:
        if before and (if_ is None or if_(*arguments)):
            reached(before)
        result = await original(*arguments, **more)
        if after and (if_ is None or if_(*arguments)):
            reached(after)
        return result

    setattr(owner, name, wrapper)


def during(owner: Any, name: str, point: str, seconds: float) -> None:
    """Make an async function pass a point while it waits for an answer."""
    original = getattr(owner, name)

    async def wrapper(*arguments: Any, **more: Any) -> Any:
        task = asyncio.ensure_future(original(*arguments, **more))
        done, _ = await asyncio.wait([task], timeout=seconds)
        if not done:
            reached(point)
        return await task

    setattr(owner, name, wrapper)


def inside(owner: Any, name: str, place: str) -> None:
    """Remember that everything below this async function happens in `place`."""
    original = getattr(owner, name)

    async def wrapper(*arguments: Any, **more: Any) -> Any:
        token = _where.set(place)
        try:
            return await original(*arguments, **more)
        finally:
            _where.reset(token)

    setattr(owner, name, wrapper)


def install() -> None:
    import asyncpg
    from tests.crash.child import copies, planted

    from llegada.messaging import broker, delivery, effects, publisher, relay
    from llegada.messaging.broker import Binding
    from llegada.messaging.dead_letters import Keeper
    from llegada.messaging.delivery import Consumer
    from llegada.messaging.gate import Gate
    from llegada.messaging.publisher import Publisher
    from llegada.messaging.relay import Relay
    from llegada.messaging.replays import Replayer
    from llegada.runtime.http import ProviderClient

    _shorten((delivery, effects), (broker, publisher))
    planted.install()  # first, so that the points lie around what it breaks
    execute = asyncpg.connection.Connection.execute

    async def commit(self: Any, query: str, *arguments: Any, **more: Any) -> Any:
        place = _where.get()
        if query == "commit" and place:
            reached(f"{place}.before_commit")
        result = await execute(self, query, *arguments, **more)
        if query == "commit" and place:
            reached(f"{place}.after_commit")
        if query == relay._DELETE:
            reached("relay.after_delete")
        return result

    asyncpg.connection.Connection.execute = commit  # type: ignore[method-assign] # the point of this module

    # relay
    around(Relay, "_batch", before="relay.before_claim", after="relay.after_commit")
    _stop_broker_before_write(Publisher)
    around(Publisher, "publish", before="relay.after_claim", after="relay.after_confirm")
    during(Publisher, "_one", "relay.between_write_and_confirm", 0.0005)

    # state changes
    inside(Consumer, "_change_state", "state")
    around(Consumer, "_change_state", before="state.before_inbox")
    around(delivery, "settle_done", after="state.after_inbox")
    around(Consumer, "_handle", after="state.after_handler")
    around(Consumer, "_work", after="state.after_outbox")

    # effects
    around(Gate, "enter", after="effect.after_slot")
    around(Consumer, "_claim", before="effect.before_claim", after="effect.after_claim")
    around(Consumer, "_perform", before="effect.before_call", after="effect.after_call")
    during(ProviderClient, "request", "effect.during_call", 0.01)
    around(Consumer, "_make_effect", after="effect.after_settle")

    # deliveries of all kinds, failures
    around(Binding, "_consume", before="delivery.before", after="delivery.after_ack")
    _failures(Consumer)

    # dead letters
    around(Keeper, "_store", before="dead_letter.before_store", after="dead_letter.after_store")
    around(Replayer, "_send", before="replay.before_send", after="replay.after_send")
    inside(Replayer, "step", "replay")

    if "reservation-api" in sys.orig_argv:
        from reservation_api.reservations import store

        around(store, "opening", after="request.after_key")
        around(store, "add", before="request.before_store", after="request.after_store")
        _requests()
    copies.install()


def _shorten(leasing: Iterable[Any], connecting: Iterable[Any]) -> None:
    """Leases and heartbeats in these modules, where the environment says so."""
    for module in leasing if LEASE else ():
        module.LEASE, module.CALL_LIMIT = timedelta(seconds=LEASE), timedelta(seconds=LEASE - 1)
    for module in connecting if HEARTBEAT else ():
        module.HEARTBEAT = HEARTBEAT


def _failures(consumer: Any) -> None:
    """Before and after a failure is settled: a retry, or a dead letter."""
    settle = consumer._settle

    async def wrapper(self: Any, settlement: Any, held_until: Any) -> Any:
        kind = {"retrying": "retry", "waiting": "retry", "dead": "dead"}.get(settlement.outcome)
        if kind:
            reached(f"{kind}.before_settle")
        result = await settle(self, settlement, held_until)
        if kind:
            reached(f"{kind}.after_settle")
        return result

    consumer._settle = wrapper


def _requests() -> None:
    """Commits of requests."""
    from contextlib import asynccontextmanager

    from reservation_api.parts import Parts

    original = Parts.transaction

    @asynccontextmanager
    async def transaction(self: Any, organization_id: int) -> Any:
        token = _where.set("request")
        try:
            async with original(self, organization_id) as tx:
                yield tx
        finally:
            _where.reset(token)

    Parts.transaction = transaction  # type: ignore[method-assign] # the point of this module


def _stop_broker_before_write(publisher: Any) -> None:
    """What is written to it now lies in a socket's buffer when it is killed."""
    publish = publisher.publish

    async def wrapper(self: Any, batch: Any) -> Any:
        if HOW == "broker" and batch and not _passages:
            os.killpg(BROKER, signal.SIGSTOP)
        return await publish(self, batch)

    publisher.publish = wrapper


if "run" in sys.orig_argv:
    install()
