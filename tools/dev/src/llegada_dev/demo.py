"""The demo of `make run`: a whole stay, step by step as the front desk would see it, with what the guest and the
providers do played by the sandbox.
"""

import sys
import time
from collections.abc import Callable
from typing import Any, Self
from uuid import uuid4

import httpx
from rich.console import Console

from llegada_dev.system import DEMO_SETTINGS, System
from llegada_dev.tokens import ORGANIZATION

PHONE = "+573009876543"
PATIENCE = 60.0
"""Seconds for each part of the stay."""
_WHATSAPP_NUMBER, _APP_SECRET, _BOLD_SECRET = "1000000001", "demo-app-secret", "demo-bold-secret"
_SETTINGS = {
    **DEMO_SETTINGS,
    "sire": {"hotelCode": "12345", "cityCode": "5001"},
    "replies": [{"keywords": ["wifi"], "texts": {"es": "Hola {{guestName}}, la clave del wifi está en recepción."}}],
}
_GUEST = {
    "guestNationality": "DE",
    "guestDocumentType": "passport",
    "guestDocumentNumber": "C01X00T47",
    "guestBirthDate": "1990-02-01",
    "guestFirstSurname": "Müller",
    "guestFirstNames": "Erika",
}


class _Late(Exception):  # noqa: N818 - says what is the case
    """A part of the stay did not come to its end in time."""


def whole_stay(made: System) -> bool:
    """Create, pay, check in (door code, SIRE), answer the guest, check out; True once all of it has come out."""
    with _Stay(made) as stay:
        try:
            stay.create()
            stay.until("the guest has the message", lambda: stay.shown["status"] == "notification_sent")
            stay.say(f"payment link: {stay.shown['paymentLink']}")
            stay.pay()
            stay.until("the reservation is paid", lambda: stay.shown["paymentStatus"] == "paid")
            stay.act("check-in", {"roomNumber": "204", "guests": [_GUEST]})
            stay.until("the guest has the door code", lambda: stay.completed("check_in_confirmation"))
            stay.say(f"the code opens: {', '.join(code['lock'] for code in stay.shown['doorCodes'])}")
            stay.file("sire")
            stay.write("¿Hay wifi?")
            stay.until("the guest is answered", stay.answered)
            stay.act("check-out")
            stay.until("the door code is taken back", lambda: stay.completed("passcodeRevoked"))
            stay.file("sireExit")
        except _Late as late:
            stay.say(f"not within {PATIENCE:.0f} s: {late}; look at .llegada/log")
            return False
        stay.say("the stay is over")
    return True


class _Stay:
    """One reservation, followed: every step is said when its state changes."""

    def __init__(self, made: System) -> None:
        headers = {"Authorization": f"Bearer {made.admin_token}"}
        self._made = made
        self._api = httpx.Client(base_url=made.api, headers=headers, timeout=40, trust_env=False)
        self._sandbox = httpx.Client(base_url=made.sandbox, timeout=40, trust_env=False)
        self._console = Console(file=sys.stdout)
        self._began = time.monotonic()
        self._seen: dict[str, str] = {}
        self.shown: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._api.close()
        self._sandbox.close()

    def say(self, words: str) -> None:
        self._console.print(f"  {time.monotonic() - self._began:5.1f} s  {words}", soft_wrap=True)

    def create(self) -> None:
        self._send("PUT", f"/api/organizations/{ORGANIZATION}/settings", _SETTINGS)
        started = time.monotonic()
        body = {"guestName": "Erika Müller", "contact": PHONE, "amount": 180000, "language": "es"}
        self.shown = self._send("POST", "/api/reservations", body)
        milliseconds = (time.monotonic() - started) * 1000
        self._console.print(f"demo reservation {self.shown['id']}: answered after {milliseconds:.0f} ms")

    def act(self, action: str, body: dict[str, Any] | None = None) -> None:
        self.say(f"{action} at the front desk")
        self._send("POST", f"{self._path}/{action}", body or {})

    def pay(self) -> None:
        self.say("the guest pays at Bold")
        links = self._sandbox.get("/_sandbox/effects", params={"provider": "bold", "operation": "create_link"}).json()
        link = next(link["id"] for link in links if link["url"] == self.shown["paymentLink"])
        self._webhook("bold", _BOLD_SECRET, {"link": link, "type": "SALE_APPROVED"})

    def write(self, text: str) -> None:
        self.say(f"the guest writes: {text}")
        event = {"from": PHONE.removeprefix("+"), "text": text, "phone_number_id": _WHATSAPP_NUMBER}
        self._webhook("whatsapp", _APP_SECRET, event)

    def answered(self) -> bool:
        found = self._get("/api/messages", reservationId=self.shown["id"])
        return any(message["state"] == "answered" for message in found)

    def file(self, step: str) -> None:
        """What staff do once a day: make SIRE's file, upload it there, and record the result."""
        self.until(f"{step} waits in the day's file", lambda: bool(self._get("/api/sire/rows", state="waiting")))
        day = self._get("/api/sire/rows", state="waiting")[0]["day"]
        made = self._send("POST", "/api/sire/files", {"day": day})
        self._send("POST", f"/api/sire/files/{made['number']}/result", {"result": "accepted"})
        self.say(f"file {made['number']} for SIRE is made, uploaded and accepted")
        self.until(f"{step} is registered", lambda: self.completed(step))

    def completed(self, step: str) -> bool:
        return any(s["step"] == step and s["state"] == "completed" for s in self.shown["steps"])

    def until(self, what: str, check: Callable[[], bool]) -> None:
        """Look again and again, and say every step that changes; raises _Late."""
        deadline = time.monotonic() + PATIENCE
        while True:
            self.shown = self._get(self._path)
            for step in self.shown["steps"]:
                if self._seen.get(step["step"]) != step["state"]:
                    self._seen[step["step"]] = step["state"]
                    self.say(f"{step['step']}: {step['state']} {step['reason'] or ''}".rstrip())
            if check():
                return
            if time.monotonic() > deadline:
                raise _Late(what)
            time.sleep(0.1)

    @property
    def _path(self) -> str:
        return f"/api/reservations/{self.shown['id']}"

    def _get(self, path: str, **query: Any) -> Any:
        return self._api.get(path, params=query).raise_for_status().json()["data"]

    def _send(self, method: str, path: str, body: Any) -> Any:
        answer = self._api.request(method, path, json=body, headers={"Idempotency-Key": str(uuid4())})
        return answer.raise_for_status().json()["data"]

    def _webhook(self, provider: str, secret: str, event: dict[str, Any]) -> None:
        order = {"provider": provider, "secret": secret, "url": f"{self._made.api}/api/webhooks/{provider}"}
        self._sandbox.post("/_sandbox/webhooks", json={**order, "events": [event]}).raise_for_status()
