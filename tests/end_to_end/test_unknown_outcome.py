"""WhatsApp's answer is lost after the effect: a status webhook tells, and nobody gets the message twice."""

import pytest

from .conftest import Desk, Stage

pytestmark = pytest.mark.more


@pytest.fixture(scope="module")
def desk(stage: Stage) -> Desk:
    return stage.system()


def test_a_lost_answer_is_found_out_by_status_webhook_and_sent_once(desk: Desk) -> None:
    desk.clear()
    desk.fault(provider="whatsapp", operation="send", kind="answer_lost", times=1)
    created = desk.create()
    data = desk.sent(created["id"], 60)
    (message,) = desk.effects(provider="whatsapp")
    assert data["sentMessage"]
    subject = f"reservation/{created['id']}"
    (row,) = desk.rows(
        f"select state, doubtful, receipt ->> 'provider_message_id' from notification_worker.effects"
        f" where subject = '{subject}'"
    )
    assert row == ("done", True, message["id"])


def test_a_request_that_never_arrived_is_sent_again_after_the_grace_time(desk: Desk) -> None:
    desk.clear()
    desk.fault(provider="whatsapp", operation="send", kind="timeout", times=1)
    created = desk.create()
    desk.sent(created["id"], 90)
    assert len(desk.effects(provider="whatsapp")) == 1
