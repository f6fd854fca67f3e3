"""What others rely on, written down: the events' JSON schemas and the API's OpenAPI document.

    python tests/contracts.py --write      (make schemas)
"""

import json
import sys
from pathlib import Path
from typing import Any

from reservation_api.app import api

from llegada.events.event import Event, event_types

ROOT = Path(__file__).parents[1]
SCHEMAS = ROOT / "shared/src/llegada/events/schemas"
OPENAPI = ROOT / "services/reservation-api/openapi.json"


def schema_name(event: type[Event]) -> str:
    return f"{event.type.removesuffix(f'.v{event.version}')}.v{event.version}.json"


def schema_of(event: type[Event]) -> dict[str, Any]:
    return {"$id": schema_name(event).removesuffix(".json"), **event.model_json_schema()}


def written(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def incompatible(old: dict[str, Any], new: dict[str, Any], where: str = "") -> list[str]:
    """Why a consumer of `old` could not read events of `new`, or the other way round; empty where both can."""
    problems = [f"{where}{name}: removed" for name in old.get("properties", {}) if name not in new.get("properties", {})]
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
            sys.exit(f"{path.name} would change incompatibly; make a new version of the event:\n  " + "\n  ".join(problems))
        path.write_text(written(new))
    OPENAPI.write_text(written(api().openapi()))


if __name__ == "__main__":
    write()
