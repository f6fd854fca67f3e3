"""Every setting of every process in one table, from the Settings classes; `make schemas` writes it, a test compares.

What a service's setting means stands in its README's table, and nowhere else.
"""

import re
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from llegada.runtime.discovery import installed
from llegada.runtime.settings import RuntimeSettings
from llegada_dev.cluster import ROOT
from llegada_dev.server import StartFailed

PAGE = ROOT / "docs/operations/settings.md"
_BEGIN, _END = "<!-- settings -->\n", "<!-- /settings -->"
_ROW = re.compile(r"^\| (`[^|]*`) \| (.*) \|$", re.MULTILINE)


def variables(settings: type[BaseModel]) -> dict[str, FieldInfo]:
    """The names that the environment uses."""
    prefix = str(settings.model_config.get("env_prefix", ""))
    return {f"{prefix}{name}".upper(): field for name, field in settings.model_fields.items()}


def of_service(name: str) -> dict[str, FieldInfo]:
    service = installed()[name]
    settings: Any = service.settings
    return variables(settings)


def table() -> str:
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for variable, field in variables(RuntimeSettings).items():
        lines.append(f"| `{variable}` | {_default(field)} | {field.description} |")
    for name in installed():
        meanings = _meanings(name)
        for variable, field in of_service(name).items():
            if variable not in meanings:
                raise StartFailed(f"services/{name}/README.md does not say in its table what {variable} means")
            lines.append(f"| `{variable}` | {_default(field)} | {meanings[variable]} |")
    return "\n".join(lines) + "\n"


def page() -> str:
    """The page with the table as it is now."""
    text = PAGE.read_text()
    before, rest = text.split(_BEGIN, 1)
    return before + _BEGIN + table() + _END + rest.split(_END, 1)[1]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    value = field.get_default(call_default_factory=True, validated_data={})
    if field.default_factory is not None and value != {}:
        return "reckoned at the start"
    if isinstance(value, SecretStr) or value is None:
        return ""
    shown = str(value).lower() if isinstance(value, bool) else "{}" if value == {} else f"{value}"
    return f"`{shown}`"


def _meanings(service: str) -> dict[str, str]:
    """From the README's rows; a row may name several: `PREFIX_A`, `…_B`."""
    found: dict[str, str] = {}
    names = list(of_service(service))
    for cell, meaning in _ROW.findall((ROOT / "services" / service / "README.md").read_text()):
        for part in re.findall(r"`(…?[A-Z0-9_]+)`", cell):
            known = [name for name in names if name == part or (part[0] == "…" and name.endswith(part[1:]))]
            found |= dict.fromkeys(known, meaning)
    return found
