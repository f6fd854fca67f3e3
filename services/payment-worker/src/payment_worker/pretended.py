"""What Bold would answer for the synthetic organization, which has no account there: nobody is called."""

from typing import Any

from llegada.messaging.failures import Permanent


def answer(operation: str, body: Any) -> dict[str, Any]:
    """In Bold's own shapes, so that the client reads it like any other; a link has expired when it is asked about."""
    match operation:
        case "payment_methods":
            return {"payload": {"payment_methods": {"PSE": {"min": 1, "max": 1_000_000}}}}
        case "create_link":
            link = f"synthetic-{body['reference']}"
            return {"payload": {"payment_link": link, "url": f"https://bold.invalid/{link}"}}
        case "link_status":
            return {"payload": {"status": "EXPIRED"}}
        case _:
            raise Permanent(f"{operation} is not pretended for the synthetic organization", code="synthetic")
