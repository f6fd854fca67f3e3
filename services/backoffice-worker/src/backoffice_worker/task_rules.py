"""Which tasks an event makes, what they are called, when they are due, and how they follow their subject. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from llegada.events.task import Due, Fact, TaskRule, TaskStatus, Trigger
from llegada.events.types import Language

_NAMESPACE = UUID("1c8a3c6e-0f0b-5d7e-8f5e-6b9f4c1d2a70")
"""Of the tasks' keys; never change it, or every redelivery during an upgrade makes a second task."""
_LONGEST = 300


@dataclass(frozen=True)
class House:
    """An organization's clock."""

    name: str = ""
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("America/Bogota"))
    check_in_time: time = time(15)
    check_out_time: time = time(11)


@dataclass(frozen=True)
class Subject:
    """What a task is about. `facts`: what became of it so far, oldest first. `values`: for the title's template."""

    name: str
    reservation_id: int | None = None
    user_id: int | None = None
    facts: tuple[Fact, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    check_in: date | None = None
    check_out: date | None = None
    unpaid: bool = False


@dataclass(frozen=True)
class Cause:
    """Why a task is wanted. `key`: the same for the same reason, however often it is told. `scope`: which of several
    things of one subject it is about: a step, or SIRE's movement.
    """

    trigger: Trigger
    key: str
    at: datetime
    deadline: datetime | None = None
    scope: str | None = None
    reason: str = ""


@dataclass(frozen=True)
class NewTask:
    """`follows`: fact → status, quality control considered. `status`: what the facts so far make of it."""

    key: UUID
    rule: TaskRule
    title: dict[Language, str]
    due_at: datetime
    status: TaskStatus
    follows: dict[Fact, TaskStatus]
    scope: str | None


def wanted(
    organization_id: int, rules: Sequence[TaskRule], cause: Cause, subject: Subject, house: House
) -> list[NewTask]:
    """One task per rule that the cause meets."""
    return [
        _task(organization_id, rule, cause, subject, house)
        for rule in rules
        if rule.enabled and rule.on == cause.trigger and (rule.when != "unpaid" or subject.unpaid)
    ]


def near(rules: Sequence[TaskRule], deadline: datetime, now: datetime) -> list[TaskRule]:
    """The rules for a deadline that is near, each by its own hours."""
    return [
        rule
        for rule in rules
        if rule.enabled and rule.when == "deadline_near" and deadline - timedelta(hours=rule.near_hours) <= now
    ]


def task_key(organization_id: int, rule: str, cause: str) -> UUID:
    return uuid5(_NAMESPACE, f"{organization_id}|{rule}|{cause}")


def _task(organization_id: int, rule: TaskRule, cause: Cause, subject: Subject, house: House) -> NewTask:
    follows = {fact: _controlled(status, rule) for fact, status in rule.follows.items()}
    status: TaskStatus = "open"
    for fact in subject.facts:
        status = follows.get(fact, status)
    return NewTask(
        key=task_key(organization_id, rule.key, cause.key),
        rule=rule,
        title={language: _filled(text, subject, cause) for language, text in rule.title.items()},
        due_at=_due(rule.due, cause, subject, house),
        status=status,
        follows=follows,
        scope=rule.step or cause.scope,
    )


def _controlled(status: TaskStatus, rule: TaskRule) -> TaskStatus:
    return "quality_control" if status == "done" and rule.quality_control else status


def _due(due: Due, cause: Cause, subject: Subject, house: House) -> datetime:
    """Where the booking's day is not known (it is older than this worker), the event counts."""
    base = cause.at
    if due.base == "deadline" and cause.deadline is not None:
        base = cause.deadline
    elif due.base == "check_in" and subject.check_in is not None:
        base = datetime.combine(subject.check_in, house.check_in_time, house.zone)
    elif due.base == "check_out" and subject.check_out is not None:
        base = datetime.combine(subject.check_out, house.check_out_time, house.zone)
    return base + timedelta(hours=due.hours)


def _filled(template: str, subject: Subject, cause: Cause) -> str:
    values = {"guest": subject.name, "name": subject.name, "reason": cause.reason, **subject.values}
    text = template
    for name, value in values.items():
        text = text.replace(f"{{{{{name}}}}}", value)
    return text[:_LONGEST]
