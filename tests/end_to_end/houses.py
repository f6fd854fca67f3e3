"""A house for each cell of the table job × provider × failure: an organization with accounts of its own everywhere.

Faults are aimed at an account, breakers and limits are counted per account: so all cells run at the same time, and none
meets another's fault. The mail server alone is everybody's.
"""

import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4
from zoneinfo import ZoneInfo

import httpx

from llegada_dev.tokens import token
from llegada_dev.waiting import until

from .conftest import Desk

ZONE = ZoneInfo("America/Bogota")
SECRET = "the-houses-tokens-are-signed-with-this"
APP_SECRET = "demo-app-secret"
MAIL = "smtp"


class Cell(NamedTuple):
    """`provider`: the one that fails, or the process that is killed; empty where nothing goes wrong."""

    job: str
    provider: str
    failure: str

    def __str__(self) -> str:
        return "-".join(part for part in self if part).replace(" ", "_")


def phone_number_id(number: int) -> str:
    return str(1_000_000_000 + number)


def environment(numbers: Iterable[int], sandbox: str) -> dict[str, dict[str, str]]:
    """What each service must know of the houses. Links die so soon that an invitation always wants a new one."""
    houses = list(numbers)
    lock = {"client_id": "c", "client_secret": "s", "password_md5": "0" * 32}
    named: dict[str, dict[str, Any]] = {
        "reservation-api": {
            "RESERVATION_API_JWT_SECRET": SECRET,
            "RESERVATION_API_WHATSAPP_NUMBERS": {phone_number_id(n): n for n in houses},
            "RESERVATION_API_BOLD_SECRETS": {n: f"bold-secret-{n}" for n in houses},
        },
        "payment-worker": {
            "PAYMENT_WORKER_MERCHANTS": {n: f"bold-{n}" for n in houses},
            "PAYMENT_WORKER_LINK_LIFETIME_HOURS": 10,
        },
        "notification-worker": {
            "NOTIFICATION_WORKER_WHATSAPP_ACCOUNTS": {
                n: {"phone_number_id": phone_number_id(n), "token": "t"} for n in houses
            }
        },
        "lock-worker": {"LOCK_WORKER_ACCOUNTS": {n: {**lock, "username": f"ttlock-{n}"} for n in houses}},
        "sire-worker": {"SIRE_WORKER_GATEWAYS": {n: {"url": f"{sandbox}/sire", "token": f"sire-{n}"} for n in houses}},
    }
    return {
        service: {
            "QUEUE_CONCURRENCY": "30",  # many calls are held open at the same time
            **{name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()},
        }
        for service, values in named.items()
    }


class House:
    """One organization, its front desk, and the one reservation that the cell is about."""

    def __init__(self, desk: Desk, number: int, cell: Cell) -> None:
        self.cell = cell
        self.number = number
        self._desk = desk
        roles = ["staff", "admin", "operator"]
        self._headers = {"Authorization": f"Bearer {token(SECRET, 'staff@house', roles, number)}"}
        self.accounts = {
            "bold": f"bold-{number}",
            "whatsapp": phone_number_id(number),
            "ttlock": f"ttlock-{number}",
            "sire": f"sire-{number}",
        }
        self.by_mail = cell.provider == MAIL
        self.contact = f"guest{number}@guest.example" if self.by_mail else f"+573010{number:06}"
        self.new_contact = f"new{number}@guest.example" if self.by_mail else f"+573020{number:06}"
        self.document = f"C{number:06}"
        self.reservation = 0
        self.links: list[str] = []
        """Bold's links of this house, before the job began."""
        self._before: dict[str, int] = {}
        self._fault: int | None = None

    def configure(self, *, locks: bool = False, sire: str | None = None, **more: Any) -> None:
        """`sire`: the channel, where foreigners are registered."""
        door = {"lockId": self.number, "name": "Puerta", "gateway": f"G{self.number}"}
        settings = {
            "name": f"Hostal {self.number}",
            "timeZone": ZONE.key,
            "locks": [door] if locks else [],
            "replies": [{"keywords": ["wifi"], "texts": {"es": "La clave es 1234"}}],
            "invitations": {"enabled": False},
            **({} if sire is None else {"sire": {"hotelCode": "12345", "cityCode": "5001", "channel": sire}}),
            **more,
        }
        self.call("PUT", f"/api/organizations/{self.number}/settings", settings)

    def call(self, method: str, path: str, content: Any = None) -> Any:
        return self.ask(method, path, content).json()["data"]

    def ask(self, method: str, path: str, content: Any = None) -> httpx.Response:
        headers = {**self._headers, "Idempotency-Key": str(uuid4())}
        answer = self._desk.api.request(method, path, json=content, headers=headers)
        assert answer.status_code in (200, 201), answer.text
        return answer

    def act(self, action: str, content: Any = None, method: str = "POST") -> None:
        self.call(method, f"/api/reservations/{self.reservation}/{action}", content or {})

    def book(self, day: datetime) -> None:
        """Somebody who arrives late on `day`."""
        arrives = day.date()
        stay = {"checkInDate": str(arrives), "checkOutDate": str(arrives + timedelta(days=2)), "arrivalTime": "23:00"}
        new = {"guestName": "Erika Müller", "contact": self.contact, "amount": 180_000, **stay}
        self.reservation = self.call("POST", "/api/reservations", new)["id"]

    def guest(self) -> dict[str, Any]:
        return {
            "guestNationality": "DE",
            "guestDocumentType": "passport",
            "guestDocumentNumber": self.document,
            "guestBirthDate": "1990-02-01",
            "guestFirstSurname": "Müller",
            "guestFirstNames": "Erika",
        }

    def get(self) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"/api/reservations/{self.reservation}")
        return found

    def step(self, name: str) -> dict[str, Any]:
        return next((step for step in self.get()["steps"] if step["step"] == name), {"state": ""})

    def reach(self, step: str, state: str = "completed", seconds: float = 120) -> dict[str, Any]:
        """Wait until the step shows this state."""
        until(lambda: self.step(step)["state"] == state, seconds, f"{self.cell}: {step} is {state}")
        return self.step(step)

    def timeline(self, kind: str) -> list[dict[str, Any]]:
        path = f"/api/reservations/{self.reservation}/timeline?pageSize=200"
        return [entry for entry in self.call("GET", path) if entry["type"] == kind]

    def begin(self) -> None:
        """From here on the ledger is counted."""
        self.links = [link["url"] for link in self.ledger("bold")]
        self._before = {provider: len(self.ledger(provider)) for provider in (*self.accounts, MAIL)}

    def made(self, provider: str) -> list[dict[str, Any]]:
        """What the provider did since the job began."""
        return self.ledger(provider)[self._before[provider] :]

    def ledger(self, provider: str) -> list[dict[str, Any]]:
        if provider == MAIL:
            mine = (self.contact, self.new_contact)
            return [mail for mail in self._desk.effects(provider=MAIL) if mail["recipient"] in mine]
        return self._desk.effects(provider=provider, account=self.accounts[provider])

    def messages(self) -> list[dict[str, Any]]:
        return self.made(MAIL if self.by_mail else "whatsapp")

    def door(self) -> set[str]:
        """The codes that open the door now, from the provider's own ledger."""
        codes = self.ledger("ttlock")
        gone = {effect["id"] for effect in codes if effect["operation"] == "delete_passcode"}
        return {e["code"] for e in codes if e["operation"] == "set_passcode" and e["id"] not in gone}

    def order(self, operation: str, kind: str, **more: Any) -> None:
        """A fault that meets this house alone; at the mail server: whoever comes next."""
        aim = {} if self.by_mail else {"account": self.accounts[self.cell.provider]}
        where = {} if self.by_mail and kind == "down" else {"operation": operation}
        order = {"provider": self.cell.provider, "kind": kind, "times": 1, **where, **aim, **more}
        answer = self._desk.sandbox.post("/_sandbox/faults", json=order)
        assert answer.status_code == 201, answer.text
        self._fault = answer.json()["id"]

    def has_met_its_fault(self) -> bool:
        """As often as it was ordered."""
        faults = self._desk.sandbox.get("/_sandbox/faults").json()
        return any(shown["id"] == self._fault and shown["over"] for shown in faults)

    def write(self, text: str) -> None:
        """The guest writes by WhatsApp."""
        event = {"from": self.contact.removeprefix("+"), "text": text, "phone_number_id": self.accounts["whatsapp"]}
        assert self._tell("whatsapp", APP_SECRET, event) == [200]

    def pay(self, *, told: bool, copies: int = 1) -> None:
        """The guest pays the link that is shown; `told` says whether the webhook arrives."""
        (link,) = self.ledger("bold")
        event = {"type": "SALE_APPROVED", "link": link["id"], "payment_id": f"P-{self.number}"}
        answers = self._tell("bold", f"bold-secret-{self.number}", event, copies if told else 0)
        assert answers == [200] * (copies if told else 0)

    def a_while_later(self) -> None:
        """As if nobody had asked about the house's link for an hour."""
        statement = "update payment_worker.links set asked_at = now() - interval '1 hour'"
        assert self._desk.rows(f"{statement} where organization_id = {self.number} returning link_id")

    def _tell(self, provider: str, secret: str, event: dict[str, Any], copies: int = 1) -> list[int]:
        address = {"url": f"{self._desk.system.api}/api/webhooks/{provider}", "copies": copies} if copies else {}
        order = {"provider": provider, "secret": secret, "events": [event], **address}
        answer = self._desk.sandbox.post("/_sandbox/webhooks", json=order, timeout=60)
        assert answer.status_code in (200, 201), answer.text
        return [delivery["status"] for delivery in answer.json()["deliveries"]]
