"""`llegada-dev dashboards`: Grafana's JSON of the panels, and whether a running system has data for every query."""

import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef, GridPos

from llegada_dev.cluster import ROOT
from llegada_dev.drill import watched_system
from llegada_dev.infrastructure import say
from llegada_dev.monitoring import Monitoring
from llegada_dev.panels import BOARDS, Board, Panel
from llegada_dev.system import System
from llegada_dev.waiting import until

FOLDER = ROOT / "deploy" / "grafana"
_WIDTH, _HEIGHT, _COLUMNS = 8, 8, 24
_PATIENCE = 120.0
_GUESTS = 40
_STAND_INS = {"$__rate_interval": "60s", "$service": ".+", "$provider": ".+"}


def documents() -> dict[Path, str]:
    """What the files in deploy/grafana must hold."""
    return {FOLDER / f"{board.uid}.json": _document(board) for board in BOARDS}


def write() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, content in documents().items():
        path.write_text(content)


def queries() -> Iterator[tuple[str, str]]:
    """Where it stands → expression, with Grafana's variables filled in as "everything"."""
    for board in BOARDS:
        for title, panels in board.rows.items():
            for panel in panels:
                for expression in panel.queries:
                    for variable, value in _STAND_INS.items():
                        expression = expression.replace(variable, value)  # noqa: PLW2901 - filled in step by step
                    yield f"{board.uid} / {title} / {panel.title}", expression


def check() -> int:
    """Every panel's query, on a real Prometheus that scraped a running system under the demo load."""
    with watched_system() as (made, watch):
        demo_load(made, watch)
        let_time_pass(made)
        empty = without_data(watch)
    for where, expression in empty:
        say(f"no data: {where}: {expression}")
    say(f"dashboards: {len(list(queries())) - len(empty)} of {len(list(queries()))} queries have data")
    return 1 if empty else 0


def demo_load(made: System, watch: Monitoring) -> None:
    """Bookings in a burst, with some of everything that can go wrong at a provider.

    The first goes ahead: a series that appears with its last value has no rate
    (prometheus.io, Instrumentation, "Avoid missing metrics").
    """
    for fault in (
        {"operation": "create_link", "kind": "provider_error", "value": {"status": 500}, "times": 3},
        {"operation": "create_link", "kind": "answer_lost", "times": 1},
        {"operation": "create_link", "kind": "provider_error", "value": {"status": 422}, "times": 1},
    ):
        httpx.post(f"{made.sandbox}/_sandbox/faults", json={"provider": "bold", **fault}, timeout=10).raise_for_status()
    headers = {"Authorization": f"Bearer {made.token}"}
    with httpx.Client(base_url=made.api, headers=headers, timeout=40, trust_env=False) as api:

        def book(number: int) -> None:
            body = {"guestName": f"Guest {number}", "contact": f"+57301{number:07}", "amount": 180_000}
            api.post("/api/reservations", json=body, headers={"Idempotency-Key": str(uuid4())}).raise_for_status()

        book(0)
        until(lambda: watch.query('llegada_http_request_seconds_count{method="POST"}'), _PATIENCE, "its series")
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(book, range(1, _GUESTS)))
        api.get("/api/reservations").raise_for_status()


def without_data(watch: Monitoring) -> list[tuple[str, str]]:
    """Those queries that have no number in time; +Inf is one, NaN is none."""
    waiting, deadline = list(queries()), time.monotonic() + _PATIENCE
    while waiting and time.monotonic() < deadline:
        waiting = [(where, expression) for where, expression in waiting if not _has_data(watch, expression)]
        time.sleep(0.5)
    return waiting


def let_time_pass(made: System) -> None:
    """As if the bookings that have their message had been made three minutes earlier: they are judged now."""
    with psycopg.connect(made.infrastructure.database_url) as connection:
        connection.execute("""
            update reservation_api.reservations set created_at = created_at - interval '3 minutes';
            update reservation_api.timeline set happened_at = happened_at - interval '3 minutes';
        """)


def _has_data(watch: Monitoring, expression: str) -> bool:
    return any(not math.isnan(float(sample["value"][1])) for sample in watch.query(expression))


def _document(board: Board) -> str:
    made = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .tags(["llegada"])
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").type("prometheus").label("Data source"))
    )
    for name, query in board.variables.items():
        variable = dashboard.QueryVariable(name).query(query).datasource(_source()).include_all(True).multi(True)
        made = made.with_variable(variable.all_value(".+"))
    top = 0
    for title, panels in board.rows.items():
        made = made.with_row(dashboard.Row(title).grid_pos(GridPos(h=1, w=_COLUMNS, x=0, y=top)))
        for index, panel in enumerate(panels):
            row, column = divmod(index, _COLUMNS // _WIDTH)
            place = GridPos(h=_HEIGHT, w=_WIDTH, x=column * _WIDTH, y=top + 1 + row * _HEIGHT)
            made = made.with_panel(_panel(panel, place))
        top += 1 + _HEIGHT * math.ceil(len(panels) / (_COLUMNS // _WIDTH))
    return json.dumps(made.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _panel(panel: Panel, place: GridPos) -> stat.Panel | timeseries.Panel:
    made = stat.Panel() if panel.now else timeseries.Panel()
    made = made.title(panel.title).description(panel.why).unit(panel.unit).datasource(_source()).grid_pos(place)
    for expression, legend in panel.queries.items():
        made = made.with_target(prometheus.Dataquery().expr(expression).legend_format(legend))
    return made


def _source() -> DataSourceRef:
    return DataSourceRef(type_val="prometheus", uid="$datasource")
