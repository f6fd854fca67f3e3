"""QUEUE_ENABLED thrown back and forth while work is in flight and the workers run."""

import pytest

from llegada_dev.system import llegada

from .conftest import Desk, Stage

pytestmark = pytest.mark.more


def test_switching_back_and_forth_loses_and_doubles_nothing(stage: Stage) -> None:
    desk = stage.system()
    llegada(desk.system.infrastructure.environment, "migrate", "--embedded", "reservation-api")
    created: list[int] = []
    for round_number in range(4):
        desk.fault(provider="bold", operation="create_link", kind="provider_error", value={"status": 500}, times=2)
        created += [desk.create(f"+5730030{round_number}{number:04}")["id"] for number in range(10)]
        _switch(desk, enabled=round_number % 2 == 1)
    for reservation_id in created:
        desk.sent(reservation_id, 60)
        assert len(desk.links_of(reservation_id)) == 1
    recipients = [effect["recipient"] for effect in desk.effects(provider="whatsapp")]
    assert len(recipients) == len(set(recipients)) == 40


def _switch(desk: Desk, *, enabled: bool) -> None:
    api = desk.system.cluster.services["reservation-api"]
    api.stop()
    api.change_environment({"QUEUE_ENABLED": str(enabled).lower()})
    api.start()
