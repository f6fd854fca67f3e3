"""Installs the crash points in a service's process, from outside: production code knows nothing of them.

Python imports this module at its start, where tests/crash/child stands in PYTHONPATH. `CRASH_AT` names the point,
`CRASH_ON` the passage (from 1) at which the process ends itself with SIGKILL. `CRASH_PLANT` plants a bug that the
harness must find. Leases are shortened, so that what a dead process left behind is taken up soon.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

POINT, PASSAGE, PLANT = (os.environ.get(name, "") for name in ("CRASH_AT", "CRASH_ON", "CRASH_PLANT"))
_passages = 0
_where: ContextVar[str] = ContextVar("where", default="")


def reached(point: str) -> None:
    """The process passes `point`."""
    global _passages  # noqa: PLW0603 - one counter per process
    if point != POINT:
        return
    _passages += 1
    if _passages == int(PASSAGE or "1"):
        os.kill(os.getpid(), signal.SIGKILL)


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

    from llegada.messaging import delivery, effects, relay
    from llegada.messaging.broker import Binding
    from llegada.messaging.dead_letters import Keeper
    from llegada.messaging.delivery import Consumer
    from llegada.messaging.gate import Gate
    from llegada.messaging.publisher import Publisher
    from llegada.messaging.relay import Relay
    from llegada.messaging.replays import Replayer
    from llegada.runtime.http import ProviderClient

    for module in (delivery, effects):
        setattr(module, "LEASE", timedelta(seconds=4))  # noqa: B010 - constants of the modules
        setattr(module, "CALL_LIMIT", timedelta(seconds=3))  # noqa: B010

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
    _plant(Binding, Publisher, Relay)


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


def _plant(binding: Any, publisher: Any, relay: Any) -> None:
    """Bugs that the harness must find."""
    if PLANT == "ack-before-commit":
        consume = binding._consume

        async def acked_first(self: Any, queue: str, settle: Any, message: Any) -> None:
            await message.ack()
            await consume(self, queue, settle, message)

        binding._consume = acked_first
    if PLANT == "delete-before-confirm":
        from llegada.messaging.publisher import Receipt

        async def nobody_waits(self: Any, batch: Any) -> Any:
            channel = await self.connect()
            for message in batch:
                asyncio.ensure_future(self._one(channel, message))  # noqa: RUF006 - the bug: nobody waits for it
            return [Receipt.CONFIRMED] * len(batch)

        publisher.publish = nobody_waits
        around(publisher, "publish", before="relay.after_claim", after="relay.after_confirm")


if "run" in sys.orig_argv:
    install()
