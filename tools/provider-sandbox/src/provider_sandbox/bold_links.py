"""A payment link of Bold, what happens to it, and how its webhook tells that."""

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Status = Literal["ACTIVE", "PROCESSING", "PAID", "REJECTED", "CANCELLED", "EXPIRED"]
SaleType = Literal["SALE_APPROVED", "SALE_REJECTED", "VOID_APPROVED", "VOID_REJECTED"]


class Sale(BaseModel):
    """A guest pays, fails to pay, or gets the money back: an event of `POST /_sandbox/webhooks`."""

    model_config = ConfigDict(extra="forbid")

    type: SaleType
    link: str | None = None
    reference: str | None = None
    """Instead of `link`: the newest link with this reference."""
    amount: Annotated[int, Field(ge=1)] | None = None
    """Whole pesos, if other than the link's (a surcharge, an open amount)."""
    payment_method: str = "CARD_WEB"
    payment_id: str | None = None
    event_id: str | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        if (self.link is None) == (self.reference is None):
            raise ValueError("a sale needs either link or reference")
        return self


@dataclass
class Link:
    """A payment link. Times are nanoseconds of the epoch, as Bold counts."""

    id: str
    account: str
    reference: str
    amount_type: str
    amount: int
    tip: int
    taxes: list[Any]
    description: str | None
    payer_email: str | None
    created: int
    expires: int | None
    status: Status = "ACTIVE"
    payment_method: str | None = None
    transaction_id: str | None = None

    @property
    def url(self) -> str:
        return f"https://checkout.bold.co/{self.id}"

    def shown(self) -> dict[str, Any]:
        """Bold's flat status object."""
        expired = self.status == "ACTIVE" and self.expires is not None and self.expires <= time.time_ns()
        return {
            "api_version": 1,
            "id": self.id,
            "total": self.amount,
            "subtotal": self.amount - self.tip,
            "tip_amount": self.tip,
            "taxes": self.taxes,
            "status": "EXPIRED" if expired else self.status,
            "expiration_date": self.expires,
            "creation_date": self.created,
            "description": self.description,
            "payment_method": self.payment_method,
            "transaction_id": self.transaction_id,
            "amount_type": self.amount_type,
            "is_sandbox": True,
            "reference": self.reference,
        }


def sale_webhook(sale: Sale, link: Link, payment_id: str, reference: str) -> dict[str, Any]:
    """Bold's webhook, CloudEvents-like (developers.bold.co/webhook); the keys inside `card` are from memory."""
    data = {
        "payment_id": payment_id,
        "merchant_id": "SANDBOX",
        "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "amount": {"currency": "COP", "total": sale.amount or link.amount, "taxes": link.taxes, "tip": link.tip},
        "user_id": str(uuid.uuid4()),
        "metadata": {"reference": reference},
        "payer_email": link.payer_email,
        "payment_method": sale.payment_method,
        "card": {"franchise": "VISA"} if sale.payment_method.startswith("CARD") else None,
    }
    if sale.type.endswith("REJECTED"):
        data["bold_code"] = "B010"
    return {
        "id": sale.event_id or str(uuid.uuid4()),
        "type": sale.type,
        "subject": payment_id,
        "source": "/payments/links",
        "spec_version": "1.0",
        "time": time.time_ns(),
        "data": data,
        "datacontenttype": "application/json",
    }
