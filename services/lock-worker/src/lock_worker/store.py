"""Tables and statements of the schema lock_worker."""

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from llegada.events.lock import Passcode
from llegada.events.organization import Lock, OrganizationConfigured
from llegada.messaging.failures import SlotLater
from llegada.messaging.transaction import Database, Transaction
from lock_worker.passcodes import HOUR, digits, name_of

LEASE_SECONDS = 30
"""Longer than a call's hard time-out."""
_MOST_SHIFTS = 23
_CONFIGURE = """
insert into organizations as o (organization_id, revision, locks) values ($1, $2, $3)
on conflict (organization_id) do update set revision = excluded.revision, locks = excluded.locks
where o.revision < excluded.revision
"""
_NOTE = """
insert into stays as s (reservation_id, organization_id, newest_intent, ended) values ($1, $2, $3, $4)
on conflict (reservation_id) do update
set newest_intent = greatest(s.newest_intent, excluded.newest_intent), ended = coalesce(s.ended, excluded.ended)
"""
_STAY = "select newest_intent, ended from stays where reservation_id = $1 and organization_id = $2"
_PLANNED = """
select * from passcodes where reservation_id = $1 and organization_id = $2 and ($3::integer is null or intent = $3)
order by intent, lock_id
"""
_PLAN = """
insert into passcodes (reservation_id, intent, lock_id, organization_id, lock_name, gateway, name, code, starts_at,
                       ends_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) on conflict do nothing returning true
"""
_SET = """
update passcodes set state = 'set', passcode_id = $4, code = $5, updated_at = now()
where reservation_id = $1 and intent = $2 and lock_id = $3
"""
_STATE = """
update passcodes set state = $4, updated_at = now() where reservation_id = $1 and intent = $2 and lock_id = $3
"""
_TOUCH = "update passcodes set updated_at = now() where reservation_id = $1 and intent = $2 and lock_id = $3"
_RECODE = """
update passcodes set code = $4, ends_at = $5 where reservation_id = $1 and intent = $2 and lock_id = $3
"""
_TAKE = f"""
insert into leases as l (key, until) values ($1, now() + interval '{LEASE_SECONDS} seconds')
on conflict (key) do update set until = excluded.until where l.until < now() returning true
"""
_KEEP = """
insert into tokens (organization_id, access_token, refresh_token, expires_at) values ($1, $2, $3, $4)
on conflict (organization_id) do update
set access_token = excluded.access_token, refresh_token = excluded.refresh_token, expires_at = excluded.expires_at
"""
_READ = "select access_token, refresh_token, expires_at from tokens where organization_id = $1"


@dataclass(frozen=True)
class Token:
    access_token: str
    refresh_token: str
    expires_at: datetime

    def __repr__(self) -> str:
        return f"Token(expires_at={self.expires_at})"


@dataclass(frozen=True)
class Row:
    """One code for one lock, written before TTLock is called."""

    reservation_id: int
    intent: int
    lock_id: int
    organization_id: int
    lock_name: str
    gateway: str | None
    name: str
    code: str | None
    passcode_id: int | None
    starts_at: datetime
    ends_at: datetime
    state: str
    updated_at: datetime

    @property
    def period(self) -> tuple[datetime, datetime]:
        return self.starts_at, self.ends_at

    def shown(self) -> Passcode:
        return Passcode(
            lock_id=self.lock_id,
            lock_name=self.lock_name,
            code=self.code or "",
            starts_at=self.starts_at,
            ends_at=self.ends_at,
        )

    def __repr__(self) -> str:
        return f"Row({self.name}, lock {self.lock_id}, {self.state})"


@dataclass(frozen=True)
class Stay:
    newest_intent: int = 0
    ended: str | None = None


class Store:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def configure(self, tx: Transaction, event: OrganizationConfigured) -> None:
        """The newest revision wins, whatever the order of arrival."""
        locks = json.dumps([lock.model_dump(mode="json") for lock in event.locks])
        await tx.execute(_CONFIGURE, event.organization_id, event.revision, locks)

    async def note(
        self, tx: Transaction, organization_id: int, reservation_id: int, intent: int = 0, ended: str | None = None
    ) -> None:
        """Intents only go up, and an end stays."""
        await tx.execute(_NOTE, reservation_id, organization_id, intent, ended)

    async def stay(self, organization_id: int, reservation_id: int) -> Stay:
        row = await self._database.fetchrow(_STAY, reservation_id, organization_id)
        return Stay() if row is None else Stay(**dict(row))

    async def locks(self, organization_id: int, room: str | None) -> list[Lock]:
        """Everybody's locks, and those of the room."""
        row = await self._database.fetchrow(
            "select locks from organizations where organization_id = $1", organization_id
        )
        known = [] if row is None else [Lock.model_validate(lock) for lock in row["locks"]]
        return [lock for lock in known if not lock.rooms or room in lock.rooms]

    async def plan(
        self,
        organization_id: int,
        reservation_id: int,
        intent: int,
        locks: Sequence[Lock],
        period: tuple[datetime, datetime],
    ) -> list[Row]:
        """The codes of one intent, planned once: a later attempt gets the same rows. None, once the stay is over."""
        async with self._database.transaction() as tx:
            await tx.execute(_NOTE, reservation_id, organization_id, intent, None)
            stay = await tx.fetchrow(f"{_STAY} for update", reservation_id, organization_id)
            if stay is None or stay["ended"] is not None:
                return []
            rows = await self._rows(tx, organization_id, reservation_id, intent)
            if rows:
                return rows
            code = digits()
            for lock in locks:
                await self._plan_one(tx, organization_id, reservation_id, intent, lock, code, period)
            return await self._rows(tx, organization_id, reservation_id, intent)

    async def end(self, organization_id: int, reservation_id: int, reason: str) -> list[Row]:
        """The stay is over: nothing is planned any more. Returns every code that was."""
        async with self._database.transaction() as tx:
            await tx.execute(_NOTE, reservation_id, organization_id, 0, reason)
            return await self._rows(tx, organization_id, reservation_id, None)

    async def planned(self, organization_id: int, reservation_id: int, intent: int | None = None) -> list[Row]:
        """Every code of a stay, or of one intent, oldest first."""
        async with self._database.transaction() as tx:
            return await self._rows(tx, organization_id, reservation_id, intent)

    async def set(self, row: Row, passcode_id: int, code: str) -> None:
        await self._execute(_SET, row.reservation_id, row.intent, row.lock_id, passcode_id, code)

    async def begin(self, row: Row) -> bool:
        """A call that sets it begins; False once the stay is over.

        The end either comes first, and is seen here, or sees when the call began, and waits for it.
        """
        async with self._database.transaction() as tx:
            stay = await tx.fetchrow(f"{_STAY} for update", row.reservation_id, row.organization_id)
            if stay is None or stay["ended"] is not None:
                return False
            await tx.execute(_TOUCH, row.reservation_id, row.intent, row.lock_id)
            return True

    async def mark(self, row: Row, state: str) -> None:
        await self._execute(_STATE, row.reservation_id, row.intent, row.lock_id, state)

    async def recode(self, row: Row) -> None:
        """The lock refused code or window: other digits, or an hour more."""
        code = None if row.gateway is None else digits()
        ends_at = row.ends_at + HOUR if row.gateway is None else row.ends_at
        await self._execute(_RECODE, row.reservation_id, row.intent, row.lock_id, code, ends_at)

    async def token(self, organization_id: int) -> Token | None:
        row = await self._database.fetchrow(_READ, organization_id)
        return None if row is None else Token(**dict(row))

    async def keep_token(self, organization_id: int, token: Token) -> None:
        await self._execute(_KEEP, organization_id, token.access_token, token.refresh_token, token.expires_at)

    @asynccontextmanager
    async def lease(self, key: str) -> AsyncGenerator[None]:
        """One at a time over all replicas; SlotLater where somebody else is inside. A crash frees it by its end.

        A row instead of an advisory lock: no connection is held while a provider is called.
        """
        if await self._database.fetchrow(_TAKE, key) is None:
            raise SlotLater("another command is under way", retry_after=timedelta(seconds=1))
        try:
            yield
        finally:
            await self._execute("update leases set until = now() where key = $1", key)

    async def _plan_one(
        self,
        tx: Transaction,
        organization_id: int,
        reservation_id: int,
        intent: int,
        lock: Lock,
        code: str,
        period: tuple[datetime, datetime],
    ) -> None:
        """One row; of an offline lock with a window that no other stay has, so two guests never share a code."""
        starts_at, ends_at = period
        for shift in range(_MOST_SHIFTS + 1):
            known = (reservation_id, intent, lock.lock_id, organization_id, lock.name, lock.gateway)
            own = code if lock.gateway is not None else None
            end = ends_at + shift * HOUR
            if await tx.fetchval(_PLAN, *known, name_of(reservation_id, intent), own, starts_at, end):
                return
        raise SlotLater(f"too many stays end at the same hour at {lock.name}", retry_after=HOUR)

    async def _rows(self, tx: Transaction, organization_id: int, reservation_id: int, intent: int | None) -> list[Row]:
        return [Row(**dict(row)) for row in await tx.fetch(_PLANNED, reservation_id, organization_id, intent)]

    async def _execute(self, statement: str, *arguments: object) -> None:
        async with self._database.transaction() as tx:
            await tx.execute(statement, *arguments)
