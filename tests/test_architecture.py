"""Who may know whom, and how much a file may hold. Services are found, not listed: a new one needs no edit here."""

import ast
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
SERVICES = {path.parent.name for path in ROOT.glob("services/*/src/*/service.py")}
GRAPH = grimp.build_graph("llegada", *SERVICES, include_external_packages=True, cache_dir=None)
SOURCES = [*ROOT.glob("*/src/**/*.py"), *ROOT.glob("*/*/src/**/*.py")]
MOST_LINES, MOST_FUNCTION_LINES = 400, 60


def illegal(*layers: str | set[str]) -> list[str]:
    found = GRAPH.find_illegal_dependencies_for_layers(layers=layers)
    return [f"{d.importer} may not know {d.imported}" for d in found]


def test_there_is_something_to_look_at() -> None:
    assert {"reservation_api", "payment_worker", "notification_worker"} <= SERVICES
    assert len(SOURCES) > 50


def test_services_know_llegada_and_never_each_other() -> None:
    assert illegal(SERVICES, "llegada") == []


def test_llegada_has_three_layers() -> None:
    assert illegal("llegada.runtime", "llegada.messaging", "llegada.events") == []


def test_no_layer_imports_the_tests_plugin() -> None:
    modules = [m for m in GRAPH.modules if m.startswith("llegada.") and not m.startswith("llegada.testing")]
    assert not [
        m for m in modules if any(i.startswith("llegada.testing") for i in GRAPH.find_modules_directly_imported_by(m))
    ]


def test_events_know_pydantic_and_nothing_else() -> None:
    standard = {"datetime", "typing", "enum", "importlib", "pkgutil", "annotated_types", "typing_extensions"}
    standard |= {"base64", "hashlib", "uuid"}
    allowed = standard | {"pydantic", "llegada"}
    for module in GRAPH.find_descendants("llegada.events"):
        roots = {name.split(".")[0] for name in GRAPH.find_modules_directly_imported_by(module)}
        assert roots <= allowed, module


@pytest.mark.parametrize("transport", ["faststream", "fastapi", "aio_pika", "httpx", "sqlalchemy", "asyncpg"])
def test_handlers_know_no_transport(transport: str) -> None:
    if transport not in GRAPH.modules:
        return
    for service in SERVICES:
        handlers = f"{service}.handlers"
        if handlers in GRAPH.modules:
            assert not GRAPH.direct_import_exists(importer=handlers, imported=transport)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_and_functions_keep_their_budget(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES
    if "migrations" in path.parts:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MOST_FUNCTION_LINES, node.name


def test_nothing_is_imported_inside_a_function_to_dodge_a_cycle() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                inner = [n for n in ast.walk(node) if isinstance(n, ast.ImportFrom)]
                assert not [n for n in inner if (n.module or "").startswith("llegada")], path


def test_no_module_is_called_after_nothing() -> None:
    assert not [p for p in SOURCES if p.stem in {"utils", "helpers", "common", "base", "manager", "misc"}]
