"""How large a number and how late a day may be: what the columns hold, and what can still be reckoned with."""

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import Query
from pydantic import AwareDatetime, Field

Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
"""Of a row: PostgreSQL's bigint."""
Number = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""Counted within something that has an id: PostgreSQL's integer."""
Page = Annotated[int, Query(ge=1, le=1_000_000_000)]
PageSize = Annotated[int, Query(alias="pageSize", ge=1, le=200)]
Day = Annotated[date, Field(ge=date(1900, 1, 1), le=date(2999, 12, 31))]
Moment = Annotated[AwareDatetime, Field(ge=datetime(1900, 1, 1, tzinfo=UTC), le=datetime(2999, 12, 31, tzinfo=UTC))]
