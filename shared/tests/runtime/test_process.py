"""Settings, logs, and what a process says about its mistakes."""

import json
import os
import pwd
import subprocess
import sys

import pytest

from llegada.runtime.cli import main
from llegada.runtime.logging import redact


def llegada(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [sys.executable, "-m", "llegada.runtime", *arguments]
    return subprocess.run(command, env={**kept, **environment}, capture_output=True, text=True, check=False)


def test_wrong_settings_stop_the_start_with_all_mistakes_at_once() -> None:
    done = llegada("run", "payment-worker", QUEUE_CONCURRENCY="0", LOG_LEVEL="LOUD")
    assert done.returncode == 2
    for name in ("DATABASE_URL", "QUEUE_CONCURRENCY", "LOG_LEVEL"):
        assert name in done.stderr
    assert "Traceback" not in done.stderr


def test_a_services_own_mistakes_are_named_with_its_prefix() -> None:
    done = llegada("run", "notification-worker", DATABASE_URL="postgresql://a@127.0.0.1:1/x", AMQP_URL="amqp://a")
    assert done.returncode == 2
    assert "NOTIFICATION_WORKER_SMTP_HOST" in done.stderr


def test_the_queue_needs_a_broker_and_says_the_other_way() -> None:
    done = llegada("run", "payment-worker", DATABASE_URL="postgresql://a@127.0.0.1:1/x")
    assert done.returncode == 2
    assert "QUEUE_ENABLED=false" in done.stderr


def test_an_unknown_service_is_answered_with_the_known_ones() -> None:
    done = llegada("run", "coffee-worker")
    assert done.returncode == 2
    assert "payment-worker" in done.stderr


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("guest_name", "Ana"),
        ("phone", "+573001234567"),
        ("token", "abc"),
        ("passcode", "4071859"),
        ("error", "cannot call +573001234567"),
        ("error", "no mailbox ana@guest.example here"),
        ("url", "amqp://user:hunter2@broker/"),
        ("error", "amqp://user:hunter2@broker/ is gone"),
        ("nested", {"contact": {"phone": "+573001234567"}}),
        ("many", ["ana@guest.example"]),
        ("notification_id", "wamid.HBgMNTczMDAxMjM0NTY3FQIA"),  # 573001234567 in base64
    ],
)
def test_personal_data_and_secrets_are_masked(field: str, value: object) -> None:
    line = json.dumps(redact(None, "info", {field: value}))
    for secret in ("Ana", "573001234567", "abc", "4071859", "ana@guest", "hunter2", "NTczMDAxMjM0NTY3"):
        assert secret not in line


def test_ids_and_codes_stay_readable() -> None:
    event = {"reservation_id": "17", "correlation_id": "c-1", "code": "131047", "subscriber": "a.b"}
    assert redact(None, "info", dict(event)) == event


def test_a_user_without_a_name_can_use_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert main(["describe"]) == 0


_DEAF = """
import asyncio
from llegada.runtime.logging import configure
from llegada.runtime.run import vital

async def deaf():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue

async def bug():
    raise KeyError("x")

async def main():
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(deaf())
        tasks.create_task(vital(bug()))

configure("probe", "INFO")
asyncio.run(main())
"""


def test_a_bug_in_a_vital_task_ends_the_process_although_another_does_not_hear() -> None:
    """A worker that could not end once went on consuming, with its clients closed."""
    done = subprocess.run([sys.executable, "-c", _DEAF], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert (json.loads(done.stdout)["event"], "KeyError" in done.stdout) == ("process_died", True)
