"""A gateway to SIRE that an organization runs itself, and one table from its answers to what happens then.

The authority has no API, so there is no provider whose contract this is: it is ours, and whoever runs a gateway (a
robot at the portal, a service bureau) speaks it. `POST {url}/registrations` with a bearer token and `{"reference":
"reservation-17-entry-1", "rows": ["…"]}`, the rows of the official file; the answer has the words in which staff record
a file's result: `{"result": "accepted | partial | rejected | uncertain", "rowErrors": [{"row": 1, "message": "…"}]}`.
An `error` with code and message in the body of any other status promises that nothing was filed; without it nobody
knows.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal

import httpx
from pydantic import BaseModel, ConfigDict, HttpUrl, SecretStr, ValidationError
from pydantic.alias_generators import to_camel

from llegada.messaging.failures import Credentials, Failure, OutcomeUnknown, Permanent, RateLimited, Transient
from llegada.messaging.gate import Limit, Way
from llegada.runtime.http import ProviderClient, retry_after

_WAIT = timedelta(seconds=30)
_ACCOUNT = "Check the address and the token of the organization's SIRE gateway, or register by file (settings)."
_ROWS = "Read what the gateway said; correct the guests' documents, and register them again."


class Account(BaseModel):
    """`url`: of the gateway, without `/registrations`."""

    url: HttpUrl
    token: SecretStr


class RowError(BaseModel):
    """`row` counts from 1, as the portal does."""

    row: int
    message: str


class Answer(BaseModel):
    """`partial` names the rows that were refused; the others were taken."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True)

    result: Literal["accepted", "partial", "rejected", "uncertain"]
    row_errors: tuple[RowError, ...] = ()

    def states(self, rows: int) -> list[tuple[str, str | None]]:
        """State and reason of each row, in order."""
        errors = {error.row: error.message for error in self.row_errors}
        if self.result == "partial":
            return [("rejected" if n in errors else "accepted", errors.get(n)) for n in range(1, rows + 1)]
        return [(self.result, errors.get(n)) for n in range(1, rows + 1)]


class Gateway:
    """`accounts`: organization → account; `per_second`: calls of one account, 0: no limit of our own."""

    def __init__(self, http: ProviderClient, accounts: Mapping[int, Account], per_second: float = 0) -> None:
        self._http = http
        self._accounts = accounts
        self._per_second = per_second

    def way(self, organization_id: int) -> Way:
        account = str(organization_id)
        return Way("sire", account, [Limit(f"sire/{account}", self._per_second)] if self._per_second else [])

    async def register(self, organization_id: int, reference: str, lines: Sequence[str]) -> Answer:
        """File rows. Raises OutcomeUnknown wherever the gateway did not say what it did."""
        account = self._accounts.get(organization_id)
        if account is None:
            raise Credentials(f"organization {organization_id} has no SIRE gateway", code="no account", advice=_ACCOUNT)
        response = await self._http.request(
            "register",
            "POST",
            f"{str(account.url).rstrip('/')}/registrations",
            headers={"authorization": f"Bearer {account.token.get_secret_value()}"},
            json={"reference": reference, "rows": list(lines)},
        )
        if response.is_success:
            return _answer(response, len(lines))
        raise failure_of(response)


def _answer(response: httpx.Response, rows: int) -> Answer:
    """What it did; an answer that does not add up says nothing."""
    try:
        answer = Answer.model_validate_json(response.content)
    except ValidationError as error:
        raise OutcomeUnknown("the SIRE gateway's answer cannot be read", code="shape") from error
    named = {error.row for error in answer.row_errors}
    if not named <= set(range(1, rows + 1)) or (answer.result == "partial" and not named):
        raise OutcomeUnknown("the SIRE gateway's answer does not fit the rows", code="shape")
    return answer


def failure_of(response: httpx.Response) -> Failure:
    """The failure that an answer without success stands for."""
    status, (code, message) = response.status_code, _error(response)
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return RateLimited("the SIRE gateway takes no more calls", retry_after=retry_after(response, _WAIT), code=code)
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.NOT_FOUND):
        return Credentials(f"the SIRE gateway refuses us ({status})", code=code or str(status), advice=_ACCOUNT)
    if message is None:
        return OutcomeUnknown(f"the SIRE gateway answered {status} without saying what it did", code=str(status))
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return Transient(f"the SIRE gateway cannot file now: {message}", code=code)
    return Permanent(f"the SIRE gateway refused the request: {message}", code=code, advice=_ROWS)


def _error(response: httpx.Response) -> tuple[str | None, str | None]:
    """Code and message of the gateway's own error body."""
    try:
        body: Any = response.json()
    except ValueError:
        return None, None
    error = body.get("error") if isinstance(body, dict) else None
    if not isinstance(error, dict) or "code" not in error:
        return None, None
    return str(error["code"]), str(error.get("message") or error["code"])[:300]
