"""The synthetic reservation goes through all processes, calls no provider, and is seen by its age alone."""

import httpx
import pytest

from llegada_dev.waiting import until

from .conftest import Stage

pytestmark = pytest.mark.more

ORGANIZATION = 9_000


def test_a_synthetic_reservation_comes_through_and_no_provider_is_called(stage: Stage) -> None:
    desk = stage.system(more={"SYNTHETIC_ORGANIZATION": str(ORGANIZATION)})
    made = f"from reservation_api.reservations where organization_id = {ORGANIZATION}"
    until(lambda: desk.rows(f"select 1 {made} and processing_status = 'completed'"), 60, "it comes through")
    metrics = httpx.get(f"{desk.system.api}/metrics", timeout=10).text
    assert f'llegada_synthetic_reservation_age_seconds{{organization="{ORGANIZATION}"}}' in metrics
    types = desk.rows(f"select type from reservation_api.timeline where organization_id = {ORGANIZATION}")
    assert {"reservation.created", "payment.link_created", "notification.sent"} <= {kind for (kind,) in types}
    assert desk.effects() == []
    assert desk.api.get("/api/reservations").json()["meta"]["total"] == 0
