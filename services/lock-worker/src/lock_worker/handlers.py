"""What the lock worker does: codes that open a stay's doors, and their end.

After an attempt of which nobody knows what it did the lock is asked by the code's name, so nothing doubles. Every code
is a row before the first call: an attempt goes on where the one before stopped.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from llegada.events.lock import PasscodeIssued, PasscodeRevoked
from llegada.events.organization import OrganizationConfigured
from llegada.events.reservation import (
    ReservationCancelled,
    ReservationCheckedIn,
    ReservationCheckedOut,
    ReservationContactUpdated,
    ReservationPinRequested,
)
from llegada.messaging.effects import LEASE, Attempt, Effect, EffectKey, Found, NotWanted, SendAgain
from llegada.messaging.failures import (
    Credentials,
    Failure,
    NotYetKnown,
    OutcomeUnknown,
    Permanent,
    TargetAway,
    Transient,
    Wait,
)
from llegada.messaging.gate import Way
from llegada.messaging.transaction import Transaction
from lock_worker.passcodes import window
from lock_worker.store import Row, Store
from lock_worker.ttlock import ALREADY_GONE, NEVER_USED, NO_LOCK, NO_WAY, SAME_CODE, WINDOW_USED, TTLock

log = structlog.get_logger()
Wish = ReservationCheckedIn | ReservationContactUpdated | ReservationPinRequested
End = ReservationCancelled | ReservationCheckedOut
_ENDED = "the stay has ended meanwhile"
"""The next attempt is skipped with the reason."""
_TRIES = 3
"""Attempts after which a new code is told, although an older one could not be taken away."""
_SETTINGS = "Add the room's lock, or everybody's, to the organization's settings, and ask for a new code."


class Locks:
    def __init__(self, store: Store, ttlock: TTLock) -> None:
        self._store = store
        self._ttlock = ttlock

    async def remember_organization(self, event: OrganizationConfigured, tx: Transaction) -> None:
        await self._store.configure(tx, event)

    async def note_stay(
        self,
        event: ReservationCheckedIn
        | ReservationContactUpdated
        | ReservationPinRequested
        | ReservationCancelled
        | ReservationCheckedOut,
        tx: Transaction,
    ) -> None:
        """The newest code that anybody wants, and whether the stay is over."""
        organization, reservation = event.organization_id, event.reservation_id
        if isinstance(event, ReservationCancelled | ReservationCheckedOut):
            await self._store.note(tx, organization, reservation, ended=ended(event))
        else:
            await self._store.note(tx, organization, reservation, event.passcode_intent or 0)

    def issue_passcode(
        self, event: ReservationCheckedIn | ReservationContactUpdated | ReservationPinRequested
    ) -> Effect[PasscodeIssued]:
        return Issue(event, self._store, self._ttlock)

    def revoke_passcode(self, event: ReservationCancelled | ReservationCheckedOut) -> Effect[PasscodeRevoked]:
        return Revoke(event, self._store, self._ttlock)


def ended(event: End) -> str:
    return "the reservation was cancelled" if isinstance(event, ReservationCancelled) else "the guest has checked out"


class _AtLocks:
    """What setting and deleting share."""

    def __init__(self, organization_id: int, store: Store, ttlock: TTLock) -> None:
        self._organization = organization_id
        self._store = store
        self._ttlock = ttlock

    def way(self) -> Way:
        return self._ttlock.way(self._organization)

    async def adopt(self, row: Row) -> Row | None:
        """Ask the lock for the code by its name: the row as an earlier attempt has set it; None if none has."""
        found = await self._ttlock.find(self._organization, row.lock_id, row.name)
        if found is None:
            return None
        await self._store.set(row, found.passcode_id, found.code)
        return replace(row, state="set", passcode_id=found.passcode_id, code=found.code)

    async def delete(self, row: Row) -> None:
        """Take a code away that was really set; what is gone already is gone."""
        if row.passcode_id is None:
            raise AssertionError("only codes that were set are deleted")
        state = "revoked"
        try:
            if row.gateway is None:
                await self._ttlock.delete(self._organization, row.lock_id, row.passcode_id)
            else:
                async with self._store.lease(f"gateway/{self._organization}/{row.gateway}"):
                    await self._ttlock.delete(self._organization, row.lock_id, row.passcode_id)
        except Failure as failure:
            unreachable = failure.code == NO_LOCK or (failure.code in NO_WAY and row.gateway is None)
            if failure.code not in (ALREADY_GONE, NEVER_USED) and not unreachable:
                raise
            if failure.code != ALREADY_GONE:  # a code that was never used TTLock suspends 24 hours after its start
                state = "left"
                log.warning("passcode_left", lock=row.lock_id, name=row.name, code=failure.code)
        await self._store.mark(row, state)


class Issue(_AtLocks):
    """One code per stay and intent, on every lock of the room."""

    def __init__(self, event: Wish, store: Store, ttlock: TTLock) -> None:
        super().__init__(event.organization_id, store, ttlock)
        self._event = event

    def key(self) -> EffectKey:
        return EffectKey(self._organization, "passcode", self._event.subject, self._event.passcode_intent or 0)

    async def still_wanted(self) -> NotWanted | None:
        intent = self._event.passcode_intent
        if intent is None:
            return NotWanted("this organization has no locks")
        stay = await self._store.stay(self._organization, self._event.reservation_id)
        if stay.ended is not None:
            return NotWanted(stay.ended)
        return NotWanted("a newer code was asked for") if stay.newest_intent > intent else None

    async def look_up(self, attempt: Attempt) -> Found | SendAgain:
        rows = await self._store.planned(self._organization, self._event.reservation_id, self._event.passcode_intent)
        there = [row.state == "set" or await self.adopt(row) for row in rows]
        if not rows or not all(there):
            return SendAgain("the lock does not have the code")
        return Found(await self._issued(attempt))

    async def perform(self, attempt: Attempt) -> PasscodeIssued:
        event = self._event
        locks = await self._store.locks(self._organization, event.stay.room)
        if not locks:
            room = f"room {event.stay.room}" if event.stay.room else "a stay without a room"
            raise Permanent(f"no lock of this organization opens {room}", code="no lock", advice=_SETTINGS)
        period = window(event.stay.starts_at, event.stay.ends_at)
        rows = await self._store.plan(
            self._organization, event.reservation_id, event.passcode_intent or 0, locks, period
        )
        if not rows:
            raise Transient(_ENDED, code="ended")
        for row in rows:
            if row.state == "intended":
                await self._set(row)
        return await self._issued(attempt)

    async def _set(self, row: Row) -> None:
        if not await self._store.begin(row):
            raise Transient(_ENDED, code="ended")
        try:
            if row.gateway is None:
                known = await self._ttlock.get(self._organization, row.lock_id, row.name, row.period)
                await self._store.set(row, known.passcode_id, known.code)
                return
            assert row.code is not None  # `plan` chose it
            async with self._store.lease(f"gateway/{self._organization}/{row.gateway}"):
                made = await self._ttlock.add(self._organization, row.lock_id, row.name, row.code, row.period)
            await self._store.set(row, made, row.code)
        except Permanent as failure:
            if failure.code not in (SAME_CODE, WINDOW_USED):
                raise
            if not await self.adopt(row):
                await self._store.recode(row)
                raise Transient(f"{failure.reason}; another one is tried", code=failure.code) from failure

    async def _issued(self, attempt: Attempt) -> PasscodeIssued:
        """The codes of this intent; those of older ones are taken away, now that the new ones open.

        One that cannot be taken away does not keep the guest from the new one: the end of the stay tries again.
        """
        event, intent = self._event, self._event.passcode_intent or 0
        rows = await self._store.planned(self._organization, event.reservation_id)
        for row in rows:
            if row.intent < intent and row.state == "set":
                await self._delete_older(row, attempt)
        codes = tuple(row.shown() for row in rows if row.intent == intent)
        return PasscodeIssued(
            organization_id=event.organization_id, reservation_id=event.reservation_id, intent=intent, passcodes=codes
        )

    async def _delete_older(self, row: Row, attempt: Attempt) -> None:
        try:
            await self.delete(row)
        except Failure as failure:
            if isinstance(failure, Transient | OutcomeUnknown | TargetAway):
                if attempt.number < _TRIES:
                    raise
            elif isinstance(failure, Wait):
                raise
            log.warning(
                "older_passcode_stays", lock=row.lock_id, name=row.name, reason=failure.reason, code=failure.code
            )


class Revoke(_AtLocks):
    """Every code of a stay that was really set."""

    def __init__(self, event: End, store: Store, ttlock: TTLock) -> None:
        super().__init__(event.organization_id, store, ttlock)
        self._event = event

    def key(self) -> EffectKey:
        intent = self._event.passcode_revoked_intent or 0
        return EffectKey(self._organization, "passcode-revocation", self._event.subject, intent)

    async def still_wanted(self) -> NotWanted | None:
        return NotWanted("no code was asked for") if self._event.passcode_revoked_intent is None else None

    async def look_up(self, _attempt: Attempt) -> SendAgain:
        return SendAgain("deleting a code again is harmless")

    async def perform(self, _attempt: Attempt) -> PasscodeRevoked:
        """First the stay is over, so that no code is planned any more; then what is there goes."""
        rows = await self._store.end(self._organization, self._event.reservation_id, ended(self._event))
        names, failures = [], []
        for row in rows:
            try:
                known = await self._settled(row) if row.state == "intended" else row
                if known is not None and known.state == "set":
                    await self.delete(known)
                    names.append(known.lock_name)
            except Failure as failure:  # one lock's trouble does not leave the others open
                failures.append(failure)
        if failures:
            raise min(failures, key=lambda failure: isinstance(failure, Permanent | Credentials))
        event = self._event
        return PasscodeRevoked(
            organization_id=event.organization_id,
            reservation_id=event.reservation_id,
            intent=event.passcode_revoked_intent or 1,
            lock_names=tuple(dict.fromkeys(names)),
        )

    async def _settled(self, row: Row) -> Row | None:
        """A code that was meant and is at the lock after all. Waits for a call that may still be under way."""
        age = datetime.now(UTC) - row.updated_at
        if age < LEASE:
            raise NotYetKnown("a code is being set at this moment", retry_after=min(LEASE - age, timedelta(seconds=15)))
        adopted = await self.adopt(row)
        if adopted is None:
            await self._store.mark(row, "revoked")
        return adopted
