"""QUEUE_ENABLED=false: the same handlers inside the request."""

import pytest

from llegada_dev.waiting import until

from .conftest import Desk, Stage


@pytest.fixture(scope="module")
def desk(stage: Stage) -> Desk:
    return stage.system(queue=False)


def test_without_the_queue_the_answer_is_the_finished_reservation(desk: Desk) -> None:
    desk.clear()
    data = desk.create()
    assert (data["status"], data["processingStatus"]) == ("notification_sent", "completed")
    assert data["paymentLink"] in data["sentMessage"]
    assert (len(desk.effects(provider="bold")), len(desk.effects(provider="whatsapp"))) == (1, 1)


def test_a_failed_attempt_does_not_hold_the_request_and_is_tried_again(desk: Desk) -> None:
    desk.clear()
    desk.fault(provider="bold", operation="create_link", kind="provider_error", value={"status": 500}, times=1)
    data = desk.create()
    assert data["processingStatus"] == "processing"
    desk.sent(data["id"])
    assert len(desk.links_of(data["id"])) == 1


def test_a_dead_letter_shows_in_the_answer_and_is_replayed_without_a_broker(desk: Desk) -> None:
    desk.clear()
    desk.fault(provider="bold", operation="create_link", kind="provider_error", value={"status": 422})
    data = desk.create()
    assert data["processingStatus"] == "failed"
    letters = "/api/admin/dead-letters"
    (letter,) = until(lambda: desk.admin.get(letters).json()["data"], what="the dead letter is at the desk")
    desk.clear()
    assert desk.admin.post(f"{letters}/replays", json={"ids": [letter["id"]]}).status_code == 202
    desk.sent(data["id"])
    assert len(desk.links_of(data["id"])) == 1
