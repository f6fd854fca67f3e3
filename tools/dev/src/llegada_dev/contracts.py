"""What others rely on, written down: the events' JSON schemas and the services' OpenAPI documents.

`make schemas` writes them; tests/test_contracts.py compares.
"""

import importlib
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llegada.events.event import Event, event_types
from llegada.runtime.discovery import installed
from llegada_dev.cluster import ROOT
from llegada_dev.server import StartFailed

SCHEMAS = ROOT / "shared/src/llegada/events/schemas"


def openapi() -> dict[Path, dict[str, Any]]:
    """The OpenAPI document of every installed service that has an `app.api()`, by the file that it belongs into."""
    found = {}
    for name, service in installed().items():
        if find_spec(f"{service.package}.app") is not None:
            api = importlib.import_module(f"{service.package}.app").api()
            found[ROOT / "services" / name / "openapi.json"] = api.openapi()
    return found


def schema_name(event: type[Event]) -> str:
    return f"{event.type.removesuffix(f'.v{event.version}')}.v{event.version}.json"


def schema_of(event: type[Event]) -> dict[str, Any]:
    return {"$id": schema_name(event).removesuffix(".json"), **event.model_json_schema()}


def written(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def incompatible(old: dict[str, Any], new: dict[str, Any], where: str = "") -> list[str]:
    """Why a consumer of `old` could not read events of `new`, or the other way round; empty where both can."""
    problems = [
        f"{where}{name}: removed" for name in old.get("properties", {}) if name not in new.get("properties", {})
    ]
    for name, was in old.get("properties", {}).items():
        now = new.get("properties", {}).get(name)
        if now is not None and _shape(was) != _shape(now):
            problems.append(f"{where}{name}: was {_shape(was)}, is {_shape(now)}")
    added = set(new.get("required", [])) - set(old.get("required", []))
    problems += [f"{where}{name}: required now" for name in sorted(added)]
    for name, was in old.get("$defs", {}).items():
        problems += incompatible(was, new.get("$defs", {}).get(name, {}), f"{where}{name}.")
    return problems


def _shape(part: dict[str, Any]) -> Any:
    """What decides whether a value fits; titles, descriptions and defaults do not."""
    told = ("title", "description", "default", "examples")
    return {key: value for key, value in part.items() if key not in told}


def write() -> None:
    """Refuses where a committed schema would change incompatibly: that is a new version of the event."""
    SCHEMAS.mkdir(exist_ok=True)
    for event in event_types().values():
        path, new = SCHEMAS / schema_name(event), schema_of(event)
        problems = incompatible(json.loads(path.read_text()), new) if path.exists() else []
        if problems:
            raise StartFailed("\n  ".join([f"{path.name} would break its readers; make a new version:", *problems]))
        path.write_text(written(new))
    for path, document in openapi().items():
        path.write_text(written(document))
