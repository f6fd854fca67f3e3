"""What the outside world reaches, through the real nginx with the configuration that is shipped."""

import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from llegada_dev.gateway import TEMPLATE, filled
from llegada_dev.waiting import until

from .conftest import Desk, Stage

pytestmark = pytest.mark.more

ORIGIN = "http://localhost:3000"  # reservation-api's dev.env


@pytest.fixture(scope="module")
def desk(stage: Stage) -> Desk:
    desk = stage.system(gateway=True)
    assert desk.system.gateway is not None, "nginx can be installed neither by us nor by hand: see tools/dev"
    return desk


@pytest.fixture(scope="module")
def outside(desk: Desk) -> Iterator[httpx.Client]:
    """The front desk, as it calls from outside."""
    assert desk.system.gateway is not None
    headers = {"Authorization": f"Bearer {desk.system.token}"}
    with httpx.Client(base_url=desk.system.gateway.url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


def test_a_reservation_made_through_the_gateway_reaches_its_guest(desk: Desk, outside: httpx.Client) -> None:
    body = {"guestName": "Ana", "contact": "+573001110001", "amount": 180_000}
    answer = outside.post("/api/reservations", json=body, headers={"Idempotency-Key": str(uuid4())})
    assert answer.status_code == 201, answer.text
    desk.sent(answer.json()["data"]["id"])


def test_a_request_id_is_passed_on_or_made_and_stands_once_on_the_answer(desk: Desk, outside: httpx.Client) -> None:
    given = outside.get("/api/reservations", headers={"X-Request-ID": "from-the-desk.1"})
    assert given.headers.get_list("x-request-id") == ["from-the-desk.1"]
    forged = outside.get("/api/reservations", headers={"X-Request-ID": "with spaces {}"})
    assert len(forged.headers["x-request-id"]) == 32
    body = {"guestName": "Ana", "contact": "+573001110002", "amount": 180_000}
    made = outside.post("/api/reservations", json=body, headers={"X-Request-ID": "trace-me-42"}).json()["data"]
    subject = f"reservation/{made['id']}"
    assert ("trace-me-42",) in desk.rows(
        f"select request_id from reservation_api.audit_log where subject = '{subject}'"
    )


def test_a_live_stream_arrives_while_it_is_open(desk: Desk, outside: httpx.Client) -> None:
    with outside.stream("GET", "/api/events") as stream:
        assert stream.status_code == 200
        lines = stream.iter_lines()
        created = desk.create("+573001110003")
        wanted = str(created["id"])
        assert any(wanted in line for line in lines if line.startswith("data:"))  # ends by the client's time-out


def test_a_body_that_is_too_large_is_refused_at_the_gate(outside: httpx.Client) -> None:
    answer = outside.post("/api/reservations", content=b"x" * (65 * 1024), headers={"Content-Type": "application/json"})
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["success"] is False


def test_an_import_that_the_api_takes_passes_the_gate_and_the_inner_listener(desk: Desk) -> None:
    """What answers is the API: the number is nobody's."""
    assert desk.system.gateway is not None
    day = {"userId": 1_000_000, "clientId": "c" * 100, "clientName": "n" * 200, "date": "2026-11-02", "minutes": 60}
    times = [{"externalId": str(number), **day} for number in range(2000)]
    headers = {"Authorization": f"Bearer {desk.system.admin_token}"}
    for address in (desk.system.gateway.url, desk.system.gateway.maintenance):
        url = f"{address}/api/work-times"
        answer = httpx.post(url, json={"workTimes": times}, headers=headers, timeout=60, trust_env=False)
        assert answer.status_code == 422, answer.text
        assert "nobody of the organization" in answer.text


@pytest.mark.parametrize("path", ["/metrics", "/health/ready", "/health/live", "/", "/api/admin/queue/stats"])
def test_what_is_not_for_the_outside_is_not_there(desk: Desk, path: str) -> None:
    assert desk.system.gateway is not None
    headers = {"Authorization": f"Bearer {desk.system.admin_token}"}
    answer = httpx.get(f"{desk.system.gateway.url}{path}", headers=headers, trust_env=False)
    assert answer.status_code == 404
    assert "nginx/" not in answer.headers["server"]


SPELLINGS = """
/api//admin/queue/stats
/api/./admin/queue/stats
/api/x/../admin/queue/stats
/api/%61dmin/queue/stats
/%61pi/admin/queue/stats
//api/admin/queue/stats
"""


@pytest.mark.parametrize("path", SPELLINGS.split())
def test_no_spelling_leads_to_the_operators_part(desk: Desk, path: str) -> None:
    """Sent as it stands: a client library would tidy it up."""
    assert desk.system.gateway is not None
    address = httpx.URL(desk.system.gateway.url)
    with closing(HTTPConnection(address.host, address.port, timeout=30)) as connection:
        connection.request("GET", path, headers={"Authorization": f"Bearer {desk.system.admin_token}"})
        assert connection.getresponse().status == 404


def test_operators_reach_their_part_by_the_inner_listener(desk: Desk) -> None:
    assert desk.system.gateway is not None
    headers = {"Authorization": f"Bearer {desk.system.admin_token}"}
    inner = desk.system.gateway.maintenance
    assert httpx.get(f"{inner}/api/admin/queue/stats", headers=headers, trust_env=False).status_code == 200
    assert httpx.get(f"{inner}/health/ready", trust_env=False).status_code == 200
    assert httpx.get(f"{inner}/metrics", trust_env=False).status_code == 404


@pytest.mark.parametrize("provider", ["whatsapp", "bold"])
def test_a_webhooks_bytes_are_untouched_and_a_forged_one_is_refused(desk: Desk, provider: str) -> None:
    assert desk.system.gateway is not None
    url = f"{desk.system.gateway.url}/api/webhooks/{provider}"
    secret = "demo-app-secret" if provider == "whatsapp" else "demo-bold-secret"
    created = desk.create("+573001110004")
    desk.sent(created["id"])
    if provider == "bold":
        event = {"type": "SALE_APPROVED", "link": desk.links_of(created["id"])[0]["id"]}
    else:
        event = {"from": "573001110004", "phone_number_id": "1000000001", "text": "¿Hay  wifi? ñ\t€ 😀"}
    statuses = []
    for key in (secret, "forged"):
        order = {"provider": provider, "secret": key, "url": url, "events": [event]}
        answer = desk.sandbox.post("/_sandbox/webhooks", json=order, timeout=60)
        assert answer.status_code in (200, 201), answer.text
        found = answer.json()
        deliveries = found["deliveries"] if isinstance(found, dict) else found
        statuses.append(deliveries[0]["status"])
    assert statuses == [200, 401]


def test_the_frontends_origin_alone_may_ask_from_a_browser(outside: httpx.Client) -> None:
    asked = {"Origin": ORIGIN, "Access-Control-Request-Method": "POST"}
    allowed = outside.options("/api/reservations", headers=asked)
    assert allowed.status_code == 204
    assert allowed.headers["access-control-allow-origin"] == ORIGIN
    assert "Idempotency-Key" in allowed.headers["access-control-allow-headers"]
    answered = outside.get("/api/reservations", headers={"Origin": ORIGIN})
    assert answered.headers.get_list("access-control-allow-origin") == [ORIGIN]
    foreign = outside.get("/api/reservations", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in foreign.headers


def test_every_answer_has_the_security_headers(outside: httpx.Client) -> None:
    for path in ("/api/reservations", "/nowhere"):
        headers = outside.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "max-age" in headers["strict-transport-security"]


def test_a_caller_in_a_loop_is_refused_and_nobody_else_is(outside: httpx.Client) -> None:
    """50 a second and 100 at once are allowed for each token: eight threads are quicker, after some rounds at most."""
    looping = httpx.Client(base_url=outside.base_url, headers={"Authorization": "Bearer looping"}, trust_env=False)
    refused: list[httpx.Response] = []
    with looping, ThreadPoolExecutor(8) as threads:
        for _ in range(20):
            answers = threads.map(lambda _: looping.get("/api/reservations"), range(200))
            refused = [answer for answer in answers if answer.status_code == 429]
            if refused:
                break
    assert refused
    assert refused[0].headers["content-type"] == "application/problem+json"
    assert outside.get("/api/reservations").status_code == 200


def test_an_api_that_is_away_is_answered_as_the_frontend_reads_it(desk: Desk, outside: httpx.Client) -> None:
    process = desk.system.cluster.services["reservation-api"]
    process.kill()
    try:
        answer = outside.get("/api/reservations")
    finally:
        process.start(60)
    assert answer.status_code == 503
    assert answer.json()["success"] is False
    until(lambda: outside.get("/api/reservations").status_code == 200)


def test_the_same_configuration_speaks_tls(tmp_path: Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl makes the test's certificate")
    make = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    subprocess.run(
        [*make, "-keyout", str(tmp_path / "tls.key"), "-out", str(tmp_path / "tls.crt")],
        check=True,
        capture_output=True,
    )
    example = (TEMPLATE.parent / "tls.conf.example").read_text().replace("/etc/nginx/tls", str(tmp_path))
    (tmp_path / "tls.conf").write_text(example)
    values = {"LLEGADA_API": "127.0.0.1:1", "LISTEN": "127.0.0.1:1443 ssl", "SERVER_NAME": "api.example"}
    values |= {"FRONTEND_ORIGIN": ORIGIN, "GATEWAY_FOLDER": str(tmp_path)}
    values |= {"MAINTENANCE_LISTEN": "127.0.0.1:1444", "MAINTENANCE_ALLOW": "10.0.0.0/8"}
    (tmp_path / "llegada.conf").write_text(filled(values))
    main = f"pid {tmp_path}/pid; events {{}} http {{ include {tmp_path}/llegada.conf; }}"
    (tmp_path / "nginx.conf").write_text(main)
    done = subprocess.run(
        ["/usr/sbin/nginx", "-t", "-e", "stderr", "-c", str(tmp_path / "nginx.conf")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "${" not in (tmp_path / "llegada.conf").read_text().split("map ", 1)[1]
