"""Ports, settings and processes of a developer's machine: with real small processes."""

import json
import signal
import socket
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest

from llegada_dev.cluster import dev_environment, installed_services, write_atomically
from llegada_dev.database import Database
from llegada_dev.ports import Ports, PortTaken, free_base
from llegada_dev.server import ServerProcess, StartFailed, any_alive

READY = "import pathlib, signal, sys; pathlib.Path(sys.argv[1]).touch(); signal.pause()"


def child(folder: Path, code: str = READY) -> ServerProcess:
    flag = folder / "ready"
    return ServerProcess("child", [sys.executable, "-c", code, str(flag)], {}, folder / "log", flag.exists)


def test_a_port_in_use_is_named_with_the_remedy() -> None:
    ports = Ports(free_base())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports.sandbox))
        taken.listen()
        with pytest.raises(PortTaken, match=f"{ports.sandbox}.*PORT_BASE"):
            ports.check_free()


def test_a_process_starts_is_killed_and_starts_again(tmp_path: Path) -> None:
    process = child(tmp_path)
    process.start(20)
    first = process.pid
    process.kill()
    assert not process.running
    process.start(20)
    assert process.pid != first
    process.stop(10)
    assert not process.running


def test_a_process_that_ends_while_it_starts_says_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(StartFailed, match="no such setting"):
        child(tmp_path, "print('no such setting')").start(20)


def test_a_process_that_does_not_listen_to_sigterm_is_killed(tmp_path: Path) -> None:
    stubborn = (
        "import pathlib, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "while True: signal.pause()"
    )
    process = child(tmp_path, stubborn)
    process.start(20)
    process.stop(0.2)
    assert not process.running


def test_a_signal_reaches_the_whole_session(tmp_path: Path) -> None:
    process = child(tmp_path)
    process.start(20)
    process.signal(signal.SIGKILL)
    process.wait_stopped(10)
    assert not process.running


def test_a_killed_database_leaves_no_process_and_starts_again_at_once() -> None:
    with TemporaryDirectory(prefix="llegada-") as folder:
        Path(folder).chmod(0o755)  # for the user that PostgreSQL runs as
        database = Database(Path(folder), Ports(free_base()).database)
        for _ in range(3):
            database.start()
            with ExitStack() as stack:
                sessions = [stack.enter_context(closing(psycopg.connect(database.url))) for _ in range(20)]
                database.kill()
                assert not any_alive(session.info.backend_pid for session in sessions)


def test_readers_see_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    target = tmp_path / "run.json"
    write_atomically(target, {"a": 1})
    write_atomically(target, {"a": 2})
    assert json.loads(target.read_text()) == {"a": 2}
    assert list(tmp_path.iterdir()) == [target]


def test_every_service_has_its_development_settings() -> None:
    values = {"SANDBOX": "http://s", "SMTP_PORT": "1", "API": "http://a", "JWT_SECRET": "x"}
    found = {name: dev_environment(name, values) for name in installed_services()}
    assert found["payment-worker"]["PAYMENT_WORKER_BOLD_URL"] == "http://s/bold"
    assert "$" not in json.dumps(found)


def test_an_unknown_placeholder_is_an_error() -> None:
    with pytest.raises(KeyError):
        dev_environment("payment-worker", {})
