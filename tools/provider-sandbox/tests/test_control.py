"""The control API itself, the ledger's filters, and the process around all of it."""

import argparse
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from provider_sandbox.app import latency_of, main

Body = Callable[..., dict[str, Any]]
MAIN = [sys.executable, "-c", "from provider_sandbox.app import main; main()"]


async def test_the_sandbox_is_healthy(client: Any) -> None:
    answer = await client.http.get("/_sandbox/health")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "in_flight": 0})


async def test_an_effect_says_what_a_judge_needs(client: Any, link: Body) -> None:
    body = link()
    made = (await client.create_link(body)).json()["payload"]
    (effect,) = await client.effects()
    at = datetime.fromisoformat(effect.pop("at"))
    assert timedelta() <= datetime.now(UTC) - at < timedelta(seconds=10)
    assert effect == {
        "provider": "bold",
        "operation": "create_link",
        "account": "merchant-1",
        "recipient": None,
        "reference": "RES-17-1",
        "id": made["payment_link"],
        "url": made["url"],
        "amount": 180_000,
        "currency": "COP",
        "expiration_date": body["expiration_date"],
        "description": "Reserva 17",
        "payment_methods": None,
    }


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ({}, 3),
        ({"provider": "bold"}, 2),
        ({"provider": "whatsapp", "recipient": "573001234567"}, 1),
        ({"recipient": "573000000000"}, 0),
        ({"reference": "RES-17-2"}, 1),
        ({"reference_prefix": "RES-17-"}, 2),
        ({"account": "1000000001", "operation": "send"}, 1),
    ],
)
async def test_effects_are_filtered(
    client: Any, link: Body, template: Body, filters: dict[str, str], found: int
) -> None:
    await client.create_link(link())
    await client.create_link(link(reference="RES-17-2"))
    await client.send(template())
    assert len(await client.effects(**filters)) == found


async def test_a_misspelt_filter_does_not_look_like_no_effects(client: Any) -> None:
    answer = await client.http.get("/_sandbox/effects", params={"refrence": "RES-17-1"})
    assert answer.status_code == 422
    assert "reference" in answer.json()["errors"][0]


async def test_effects_can_be_cleared(client: Any, link: Body) -> None:
    await client.create_link(link())
    assert (await client.http.delete("/_sandbox/effects")).status_code == 204
    assert await client.effects() == []


async def test_settings_are_shown_changed_and_put_back(client: Any) -> None:
    before = (await client.http.get("/_sandbox/settings")).json()
    await client.configure("bold", status_shape="enveloped")
    assert (await client.http.get("/_sandbox/settings")).json()["bold"]["status_shape"] == "enveloped"
    await client.http.delete("/_sandbox/settings")
    assert (await client.http.get("/_sandbox/settings")).json() == before


@pytest.mark.parametrize(
    ("method", "path", "content", "status"),
    [
        ("POST", "faults", "{", 400),
        ("POST", "faults", "", 400),
        ("POST", "webhooks", "[", 400),
        ("PATCH", "settings/bold", "{", 400),
        ("PATCH", "settings/bold", "[]", 422),
        ("PATCH", "settings/bold", '{"status_shape": "round"}', 422),
        ("PATCH", "settings/bold", '{"unknown": 1}', 422),
        ("PATCH", "settings/nobody", "{}", 404),
        ("POST", "accounts", '{"refused": ["k"]}', 422),
        ("POST", "windows", '{"wa_id": "abc"}', 422),
        ("PATCH", "links/LNK_NONE", '{"status": "PAID"}', 404),
        ("GET", "nothing", "", 404),
        ("PUT", "effects", "", 405),
    ],
)
async def test_a_wrong_order_is_a_problem(client: Any, method: str, path: str, content: str, status: int) -> None:
    answer = await client.http.request(method, f"/_sandbox/{path}", content=content)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert answer.json()["errors"]


def test_ctrl_c_ends_the_process_cleanly() -> None:  # and SIGTERM does, at the end of each test run (conftest)
    command = [*MAIN, "--port", "0", "--smtp-port", "0", "--latency", "1-3"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "ready" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=10)
    assert (process.returncode, errors) == (0, "")


@pytest.mark.parametrize("option", ["--port", "--smtp-port"])
def test_a_port_that_is_taken_is_said(
    option: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = {"--port": "0", "--smtp-port": "0", option: str(taken.getsockname()[1])}
        monkeypatch.setattr(sys, "argv", ["provider-sandbox", *(word for pair in ports.items() for word in pair)])
        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 1
    assert "cannot listen" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "latency"), [("0", None), ("2", {"uniform": [2, 2]}), ("1-3", {"uniform": [1, 3]})])
def test_latency_is_said_in_seconds(text: str, latency: Any) -> None:
    assert latency_of(text) == latency


@pytest.mark.parametrize("text", ["slow", "3-1", "-1", ""])
def test_senseless_latency_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        latency_of(text)
