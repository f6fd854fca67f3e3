"""Structured logs: one JSON object a line, events with fields, never sentences with values.

Phone numbers, names, e-mail addresses, door codes, document numbers and keys never appear in clear: fields with such
names are masked, and what looks like a phone number or an address inside any other text is masked too.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

MASK = "***"
_SECRET = re.compile(
    r"name$|phone|e_?mail|recipient|contact|passcode|pin$|code$|token|secret|password|authorization|api_?key|document"
    r"|surname|text$|body|url$|link$"
    r"|notification_id",  # WhatsApp's message ids hold the guest's number in base64
    re.IGNORECASE,
)
_HARMLESS = frozenset({"code", "error_code", "service_name", "queue_name", "logger_name", "provider_code"})
_INSIDE = re.compile(
    r"\+[1-9]\d{6,14}|[^\s@\"'<>]+@[^\s@\"'<>]+\.[a-z]{2,}|(?<=://)[^/\s@]+:[^/\s@]+(?=@)", re.IGNORECASE
)


def configure(service: str, level: str) -> None:
    """Logs of structlog and of the standard library leave by the same way, to standard output."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, _with_service(service), redact, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stdout),
        cache_logger_on_first_use=True,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _with_service(service),
            redact,
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(formatter)
    logging.basicConfig(
        level=max(logging.getLevelNamesMapping()[level], logging.WARNING), handlers=[handler], force=True
    )

    # It says at ERROR what aio-pika says again at WARNING, every half second while the broker is away.
    logging.getLogger("aiormq.connection").setLevel(logging.CRITICAL)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: masks personal data and secrets by field name and by shape."""
    for key, value in event.items():
        event[key] = _masked(key, value)
    return event


def _masked(key: str, value: Any) -> Any:
    if value is not None and key not in _HARMLESS and _SECRET.search(key):
        return MASK
    if isinstance(value, str):
        return _INSIDE.sub(MASK, value)
    if isinstance(value, Mapping):
        return {inner: _masked(str(inner), content) for inner, content in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(key, content) for content in value]
    return value


def _with_service(service: str) -> Any:
    def add(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event["service"] = service
        return event

    return add
