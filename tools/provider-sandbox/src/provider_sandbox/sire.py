"""A gateway to SIRE, as an organization may run one: rows of the official file in, a file's result out.

The authority has no API, so this is our own contract (sire_worker.gateway). It judges rows as the portal does: number
of columns, code tables as far as they are known here, dates.
"""

import json
import re
from datetime import datetime
from itertools import count
from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from provider_sandbox.accounts import Accounts
from provider_sandbox.effects import Effects
from provider_sandbox.exchange import Exchanges
from provider_sandbox.faults import Faults

_COLUMNS = 13
_DOCUMENTS = frozenset({"3", "5", "10", "46", "52"})
_NAMES = re.compile(r"[A-Z]+( [A-Z]+)*")


class SireSettings(BaseModel):
    """`refused_documents`: document number → what the portal says. `uncertain`: it never says what it did."""

    model_config = ConfigDict(extra="forbid")

    refused_documents: dict[str, str] = {}
    uncertain: bool = False


class Sire:
    """The bearer token is the account."""

    def __init__(self, effects: Effects, faults: Faults) -> None:
        self._effects = effects
        self.exchanges = Exchanges("sire", faults, _ordered_error)
        self.settings = SireSettings()
        self.accounts = Accounts()
        self._ids = count(1)

    def routes(self) -> list[Route]:
        return [Route("/registrations", self.register, methods=["POST"])]

    def configure(self, changes: dict[str, Any]) -> None:
        """Change some settings; raises pydantic's ValidationError."""
        self.settings = SireSettings.model_validate({**self.settings.model_dump(), **changes})

    def reset(self) -> None:
        self.settings, self.accounts = SireSettings(), Accounts()

    async def register(self, request: Request) -> Response:
        account = request.headers.get("authorization", "").removeprefix("Bearer ")

        def answer(body: bytes) -> Response:
            if not self.accounts.allow(account):
                return error(401, "token", "the token is not known")
            try:
                order = json.loads(body)
                reference, rows = str(order["reference"]), [str(row) for row in order["rows"]]
            except (ValueError, KeyError, TypeError):
                return error(400, "shape", "the body must be {reference, rows}")
            if not rows:
                return error(422, "empty", "rows must not be empty")
            return self._filed(account, reference, rows)

        return await self.exchanges.run(request, "register", account, answer)

    def _filed(self, account: str, reference: str, rows: list[str]) -> Response:
        errors = []
        for number, row in enumerate(rows, start=1):
            columns = row.split("\t")
            wrong = _mistake(columns) or self.settings.refused_documents.get(columns[3])
            if wrong is not None:
                errors.append({"row": number, "message": wrong})
                continue
            self._effects.made(
                "sire", "register", account, recipient=None, reference=reference, id=f"R{next(self._ids)}",
                document=columns[3], movement=columns[8], day=columns[9],
            )  # fmt: skip
        if self.settings.uncertain:
            return JSONResponse({"result": "uncertain"})
        if not errors:
            return JSONResponse({"result": "accepted"})
        result = "rejected" if len(errors) == len(rows) else "partial"
        return JSONResponse({"result": result, "rowErrors": errors})


def _mistake(columns: list[str]) -> str | None:
    """What the portal would refuse, in its own language."""
    if len(columns) != _COLUMNS:
        return "Error en la estructura del archivo"
    if columns[2] not in _DOCUMENTS:
        return "el tipo de documento no existe"
    if not columns[3].isalnum() or not columns[4].isdigit():
        return "el documento o el codigo de nacionalidad no existe"
    if not _NAMES.fullmatch(columns[5]) or not _NAMES.fullmatch(columns[7]) or columns[8] not in ("E", "S"):
        return "nombre o tipo de movimiento no valido"
    return None if _is_day(columns[9]) and _is_day(columns[12]) else "fecha no valida"


def _is_day(text: str) -> bool:
    try:
        datetime.strptime(text, "%d/%m/%Y")  # noqa: DTZ007 - a day of a form
    except ValueError:
        return False
    return True


def error(status: int, code: str, message: str) -> Response:
    """The gateway's own error: it promises that nothing was filed."""
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)


def _ordered_error(value: Any) -> Response:
    """What a fault asks for: a code, or a code and a status."""
    whole = value if isinstance(value, dict) else {"code": value}
    return error(whole.get("status", 503), str(whole.get("code")), "ordered by the sandbox")
