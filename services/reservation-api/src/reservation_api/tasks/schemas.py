"""Tasks and rules as staff send them."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic.alias_generators import to_camel

from llegada.events.task import Condition, Fact, TaskRule, TaskStatus, Trigger
from llegada.events.types import Language
from reservation_api.bounds import Id, Moment

Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Who = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=254)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", alias_generator=to_camel, validate_by_name=True)


class NewTask(_Body):
    """A task by hand: for a role or for a person (the subject of a token)."""

    title: Title
    role: Title | None = None
    person: Who | None = None
    due_at: Moment | None = None
    reservation_id: Id | None = None
    quality_control: bool = False

    @model_validator(mode="after")
    def _for_somebody(self) -> Self:
        if (self.role is None) == (self.person is None):
            raise ValueError("name exactly one of role and person")
        return self


class TaskChange(_Body):
    """A new status, with a word for the next one; or somebody else to do it."""

    status: TaskStatus | None = None
    note: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1000)] | None = None
    role: Title | None = None
    person: Who | None = None

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.role is not None and self.person is not None:
            raise ValueError("a task is for a role or for a person: name one of the two")
        if self.status is None and self.role is None and self.person is None:
            raise ValueError("name a status, a role or a person")
        return self


class DueSettings(_Body):
    base: Annotated[str, StringConstraints(pattern=r"^(event|check_in|check_out|deadline)$")] = "event"
    hours: Annotated[int, Field(ge=-24 * 365, le=24 * 365)] = 0


class RuleSettings(_Body):
    """On an event, one task per cause. `title`: language → template with `{{guest}} {{name}} {{room}} {{checkIn}}
    {{checkOut}} {{reason}}`. `follows`: what becomes of its subject → the task's status.
    """

    key: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,59}$")]
    on: Trigger
    when: Condition = "always"
    enabled: bool = True
    title: Annotated[dict[Language, Title], Field(min_length=1)]
    role: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=60)] | None = None
    person: Who | None = None
    due: DueSettings = DueSettings()
    quality_control: bool = False
    follows: dict[Fact, TaskStatus] = Field(default_factory=dict)
    step: Annotated[str, StringConstraints(pattern=r"^[a-z_]{1,40}$")] | None = None
    near_hours: Annotated[int, Field(ge=1, le=24 * 7)] = 6

    @model_validator(mode="after")
    def _is_a_rule(self) -> Self:
        self.rule()
        return self

    def rule(self) -> TaskRule:
        """In the words of the event; raises ValueError where the parts do not fit."""
        return TaskRule.model_validate(self.model_dump(mode="json"))


class Rules(_Body):
    """PUT /api/tasks/rules: whole."""

    rules: Annotated[list[RuleSettings], Field(max_length=100)]

    @model_validator(mode="after")
    def _once(self) -> Self:
        keys = [rule.key for rule in self.rules]
        twice = sorted({key for key in keys if keys.count(key) > 1})
        if twice:
            raise ValueError(f"the rules {', '.join(twice)} stand there twice")
        return self


def shown_rule(rule: TaskRule) -> dict[str, Any]:
    found = RuleSettings.model_validate(rule.model_dump(mode="json"))
    return found.model_dump(mode="json", by_alias=True)
