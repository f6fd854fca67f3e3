"""WhatsApp Business Cloud API: a client, and one table from Meta's codes to what happens then.

Source: developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes (2026-05-15), and the
codes that pywa's errors list besides. Meta says to build on `code`, not on the HTTP status.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
from pydantic import BaseModel, SecretStr

from llegada.messaging.failures import Credentials, Failure, OutcomeUnknown, Permanent, RateLimited, Transient
from llegada.messaging.gate import Limit, Way
from llegada.runtime.http import ProviderClient, retry_after

RE_ENGAGEMENT = "131047"
"""Free text outside the 24 hours: the one error that turns into a template."""

UNREACHABLE = frozenset({"130472", "131021", "131026", "131030"})
"""This number cannot be reached by WhatsApp, whatever is sent: another channel may."""

_TEMPLATE = "Reach the guest in another way, and have an admin correct the template at WhatsApp or in the settings."
_TEMPLATES = range(132000, 132100)
_OTHER_WAY = "Send it by e-mail, or call the guest."
_ACCOUNT = "Check the organization's WhatsApp account and its token."

# Code → plain words. Transient: Meta says itself that it did not do it.
_TRANSIENT: dict[int, str] = {
    1: "WhatsApp had an unknown error",
    2: "WhatsApp's service is not available",
    131000: "WhatsApp had an error",
    131016: "WhatsApp's service is not available",
    131057: "the WhatsApp account is under maintenance",
    135000: "WhatsApp had a generic error",
}
# Code → how long to wait at least. The long ones are parked: a retry before then makes it worse.
_RATE: dict[int, timedelta] = {
    4: timedelta(minutes=1),  # app, per hour
    80007: timedelta(minutes=1),  # business account, per hour
    130429: timedelta(seconds=2),  # 80 messages a second
    131056: timedelta(seconds=8),  # one message in 6 s to one guest
    133016: timedelta(minutes=10),  # registration
    131048: timedelta(hours=1),  # spam limit
    131049: timedelta(hours=24),  # ecosystem engagement
    131064: timedelta(hours=1),
    132015: timedelta(hours=1),  # template paused
}
_CREDENTIALS = frozenset({0, 3, 10, 33, 190, 368, 130497, 131005, 131031, 131042, 131045, 131063, *range(200, 300)})
_PERMANENT: dict[int, str] = {
    100: "WhatsApp refused a parameter",
    130472: "WhatsApp holds this message back as part of an experiment",
    131008: "a parameter is missing",
    131009: "WhatsApp refused the value of a parameter",
    131021: "sender and recipient are the same number",
    131026: "the number has no WhatsApp, or cannot be reached by it",
    131030: "the number is not among the test account's allowed recipients",
    131037: "the display name of the WhatsApp number is not approved",
    131047: "the guest has not written within 24 hours, so only a template may be sent",
    131050: "the guest does not want such messages",
    131051: "WhatsApp does not know this type of message",
    131052: "a file could not be downloaded",
    131053: "a file could not be uploaded",
    131062: "WhatsApp refused the message",
    132000: "the template takes another number of parameters",
    132001: "the template does not exist in this language",
    132005: "the filled-in template is too long",
    132007: "the template breaks WhatsApp's rules",
    132008: "a parameter of the template is missing",
    132012: "a parameter of the template has the wrong format",
    132016: "the template is disabled",
    132068: "the flow is blocked",
    132069: "the flow is throttled",
    137000: "WhatsApp refused the message",
}


class Account(BaseModel):
    """An organization's sender."""

    phone_number_id: str
    token: SecretStr


@dataclass(frozen=True)
class Template:
    name: str
    language: str
    parameters: list[str]


@dataclass(frozen=True)
class Limits:
    """Messages a second of one sender, and of one sender to one guest; 0: no limit of our own."""

    per_second: float
    per_second_to_one: float


META_LIMITS = Limits(per_second=80, per_second_to_one=1 / 6)
_BURST_TO_ONE = 10
"""A guest may get some messages at once. Meta takes 45 ahead, and then wants the time back
(developers.facebook.com/documentation/business-messaging/whatsapp: throughput, pair rate limit)."""


class WhatsApp:
    """`accounts`: organization → sender; `version` like `v23.0`; `limits`: Meta's, unless tests want others.

    `synthetic`: the organization for which nobody is called; its messages are as good as sent.
    """

    def __init__(
        self,
        http: ProviderClient,
        version: str,
        accounts: Mapping[int, Account],
        limits: Limits = META_LIMITS,
        synthetic: int | None = None,
    ) -> None:
        self._synthetic = synthetic
        self._http = http
        self._version = version
        self._accounts = accounts
        self._limits = limits

    def way(self, organization_id: int, to: str) -> Way:
        """The sender's limits: first how often one guest may be written to, then all together."""
        account = self._accounts.get(organization_id)
        if account is None:  # `send` says what is missing
            return Way("whatsapp", f"organization-{organization_id}")
        number, limits = account.phone_number_id, []
        if self._limits.per_second_to_one:
            limits.append(Limit(f"whatsapp/{number}/{to}", self._limits.per_second_to_one, _BURST_TO_ONE))
        if self._limits.per_second:
            limits.append(Limit(f"whatsapp/{number}", self._limits.per_second))
        return Way("whatsapp", number, limits)

    async def send_text(self, organization_id: int, to: str, text: str, own_key: str) -> str:
        """Free text, allowed for 24 hours after the guest wrote; returns WhatsApp's message id."""
        content = {"type": "text", "text": {"preview_url": False, "body": text}}
        return await self._send(organization_id, to, content, own_key)

    async def send_template(self, organization_id: int, to: str, template: Template, own_key: str) -> str:
        """An approved template, allowed at any time; returns WhatsApp's message id."""
        parameters = [{"type": "text", "text": value} for value in template.parameters]
        content = {
            "type": "template",
            "template": {
                "name": template.name,
                "language": {"code": template.language},
                "components": [{"type": "body", "parameters": parameters}],
            },
        }
        return await self._send(organization_id, to, content, own_key)

    async def _send(self, organization_id: int, to: str, content: dict[str, Any], own_key: str) -> str:
        if organization_id == self._synthetic:
            return f"synthetic.{own_key}"
        account = self._accounts.get(organization_id)
        if account is None:
            reason = f"organization {organization_id} has no WhatsApp account"
            raise Credentials(reason, code="no account", advice=_ACCOUNT)
        body = {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": to.removeprefix("+"),
            "biz_opaque_callback_data": own_key,
            **content,
        }
        headers = {"Authorization": f"Bearer {account.token.get_secret_value()}"}
        path = f"/{self._version}/{account.phone_number_id}/messages"
        response = await self._http.request("send", "POST", path, headers=headers, json=body)
        if not response.is_success:
            raise failure_of(response)
        try:
            message_id = response.json()["messages"][0]["id"]
        except (ValueError, LookupError, TypeError) as error:
            raise OutcomeUnknown("WhatsApp's answer holds no message id", code="shape") from error
        return str(message_id)


def words_for(code: str | None, title: str | None) -> str:
    """Plain words for the error of a late status."""
    number = int(code) if code is not None and code.isdigit() else -1
    return _PERMANENT.get(number) or _TRANSIENT.get(number) or f"WhatsApp could not deliver it: {title or 'no reason'}"


def failure_of(response: httpx.Response) -> Failure:
    """The failure that an answer stands for."""
    found = _error(response)
    if found is None:
        return _without_code(response)
    number, details = found
    code = str(number)
    if number in _RATE:
        wait = retry_after(response, _RATE[number])
        return RateLimited(f"WhatsApp asks to wait: {details}", retry_after=wait, code=code)
    if number in _TRANSIENT:
        return Transient(_TRANSIENT[number], code=code)
    if number in _CREDENTIALS:
        return Credentials(f"WhatsApp refuses the account: {details}", code=code, advice=_ACCOUNT)
    words = _PERMANENT.get(number, f"WhatsApp answered code {number}, which nobody expected: {details}")
    return Permanent(words, code=code, advice=_TEMPLATE if number in _TEMPLATES else _OTHER_WAY)


def _without_code(response: httpx.Response) -> Failure:
    """An answer that is not Meta's own: a gateway spoke."""
    status = response.status_code
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return RateLimited("WhatsApp takes no more for the moment", retry_after=retry_after(response, _RATE[130429]))
    if status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return OutcomeUnknown(f"WhatsApp answered {status} without saying what it did", code=str(status))
    return Permanent(f"WhatsApp answered {status}, which nobody expected", code=str(status), advice=_OTHER_WAY)


def _error(response: httpx.Response) -> tuple[int, str] | None:
    """Code and details of Meta's own error body; None where the body is somebody else's."""
    try:
        error = response.json()["error"]
        details = (error.get("error_data") or {}).get("details") or error.get("message") or "no details"
        return int(error["code"]), str(details)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
