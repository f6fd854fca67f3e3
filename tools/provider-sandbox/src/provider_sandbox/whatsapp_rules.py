"""What WhatsApp refuses in a message, rule by rule: code and details, or None for a good one."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Refusal = tuple[int, str]

_NUMBER = re.compile(r"\+?([1-9][0-9]{6,14})")
"""E.164 without its punctuation."""
_FORBIDDEN_IN_PARAMETER = re.compile(r"[\n\r\t]| {5,}")
_MOST_CALLBACK_DATA = 512
_MOST_TEXT = 4096
_MOST_PARAMETERS = 1024
"""Length of a template's body when filled in; what is known here are its parameters only."""


class Template(BaseModel):
    """An approved template, and how many parameters its body has."""

    model_config = ConfigDict(extra="forbid")

    name: str
    language: str
    parameters: Annotated[int, Field(ge=0)]
    status: Literal["APPROVED", "PAUSED", "DISABLED"] = "APPROVED"


Templates = dict[tuple[str, str], Template]
"""By name and language, which must match exactly: `es` is not `es_CO`."""


def envelope_refusal(body: Any) -> Refusal | None:
    """The fields that all messages have."""
    if not isinstance(body, dict) or body.get("messaging_product") != "whatsapp":
        return 100, "The parameter messaging_product is required."
    if digits(body.get("to")) is None:
        return 131009, "to must be a phone number in digits with its country code"
    data = body.get("biz_opaque_callback_data")
    if data is not None and not (isinstance(data, str) and len(data) <= _MOST_CALLBACK_DATA):
        return 100, f"biz_opaque_callback_data must be text of at most {_MOST_CALLBACK_DATA} characters"
    if body.get("type", "text") not in ("text", "template"):
        return 131051, f"Unsupported message type: {body['type']}"
    return None


def digits(to: Any) -> str | None:
    """The number in digits only; None if it is none."""
    found = _NUMBER.fullmatch(to) if isinstance(to, str) else None
    return found[1] if found else None


def wa_id(number: str) -> str:
    """WhatsApp's own name of a number, which may differ from what was asked: Mexico's mobiles carry a 1 after 52."""
    mexican = number.startswith("52") and len(number) == 12  # noqa: PLR2004 - 52 and ten digits
    return f"521{number[2:]}" if mexican else number


def text_refusal(text: Any) -> Refusal | None:
    body = text.get("body") if isinstance(text, dict) else None
    if not isinstance(body, str) or not body:
        return 131008, "Parameter text.body is missing"
    if len(body) > _MOST_TEXT:
        return 100, f"text.body must be at most {_MOST_TEXT} characters long"
    return None


def template_refusal(template: Any, templates: Templates) -> Refusal | None:
    language = template.get("language") if isinstance(template, dict) else None
    if not isinstance(language, dict) or not isinstance(template.get("name"), str):
        return 131008, "Parameters template.name and template.language.code are required"
    name, code = template["name"], str(language.get("code"))
    known = templates.get((name, code))
    if known is None:
        return 132001, f"template name ({name}) does not exist in {code}"
    if known.status != "APPROVED":
        return (132015 if known.status == "PAUSED" else 132016), f"template name ({name}) is {known.status.lower()}"
    return _parameters_refusal(body_parameters(template), known)


def _parameters_refusal(given: list[Any] | None, known: Template) -> Refusal | None:
    if given is None or any(not isinstance(text, str) or not text for text in given):
        return 131008, "Parameter of type text is missing text value"
    if len(given) != known.parameters:
        return 132000, f"body: number of localizable_params ({len(given)}) does not match ({known.parameters})"
    if any(_FORBIDDEN_IN_PARAMETER.search(text) for text in given):
        return 132012, "Param text cannot have new-line/tab characters or more than 4 consecutive spaces"
    if sum(map(len, given)) > _MOST_PARAMETERS:
        return 132005, f"the filled-in template is longer than {_MOST_PARAMETERS} characters"
    return None


def body_parameters(template: dict[str, Any]) -> list[Any] | None:
    """Values of the body's parameters in order; None if the components have another shape."""
    components = template.get("components") or []
    try:
        bodies = [component for component in components if component["type"].lower() == "body"]
        return [parameter.get("text") for component in bodies for parameter in component.get("parameters") or []]
    except (TypeError, KeyError, AttributeError):
        return None
