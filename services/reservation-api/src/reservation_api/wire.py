"""JSON on the wire: camelCase, closed where it comes in, in the envelope where it goes out."""

import re
from datetime import date, time
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Response
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

T = TypeVar("T")

BIGGEST_ID = 2**63 - 1
_DAY = re.compile(r"^\d{4}-\d{2}-\d{2}$")
_CLOCK = re.compile(r"^\d{2}:\d{2}(:\d{2})?$")
_CONTROL = re.compile(r"[\x00-\x1f\x7f\u2028\u2029]")
_CONTROL_IN_LINES = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


class Input(BaseModel):
    """What clients send: unknown fields are refused, so that a misspelt one is not silently lost."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, str_strip_whitespace=True, validate_by_name=False
    )


class Output(BaseModel):
    """What clients get."""

    model_config = ConfigDict(frozen=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=False)


class Answer(Output, Generic[T]):
    """The envelope of every answer that succeeded."""

    success: Literal[True] = True
    data: T
    message: str | None = Field(default=None, description="For people, in the language of Accept-Language")


class Meta(Output):
    total: int
    page: int
    page_size: int


class ListAnswer(Output, Generic[T]):
    """The envelope of a list."""

    success: Literal[True] = True
    data: list[T]
    meta: Meta


class Page(Input):
    """Which part of a list."""

    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    page_size: Annotated[int, Field(ge=1, le=200)] = 50

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.page_size


class JsonBytes(Response):
    """An answer whose body is already JSON."""

    media_type = "application/json"


def body_of(answer: BaseModel) -> bytes:
    return answer.model_dump_json(by_alias=True).encode()


def _one_line(value: str) -> str:
    if _CONTROL.search(value):
        raise PydanticCustomError("control_character", "must be one line without control characters")
    return value


def _lines(value: str) -> str:
    if _CONTROL_IN_LINES.search(value):
        raise PydanticCustomError("control_character", "must not contain control characters other than line breaks")
    return value


def _day(value: Any) -> Any:
    if not isinstance(value, date) and not (isinstance(value, str) and _DAY.match(value)):
        raise PydanticCustomError("day", "must be a date like 2026-12-24")
    return value


def _clock(value: Any) -> Any:
    if not isinstance(value, time) and not (isinstance(value, str) and _CLOCK.match(value)):
        raise PydanticCustomError("clock", "must be a time of day like 14:30")
    return value


Line = Annotated[str, StringConstraints(min_length=1, max_length=200), AfterValidator(_one_line)]
ShortLine = Annotated[str, StringConstraints(min_length=1, max_length=50), AfterValidator(_one_line)]
Lines = Annotated[str, StringConstraints(min_length=1, max_length=4000), AfterValidator(_lines)]
Day = Annotated[date, BeforeValidator(_day), Field(ge=date(2000, 1, 1), le=date(2100, 12, 31))]
Clock = Annotated[time, BeforeValidator(_clock)]
