"""What the active relay and the keeper of dead letters measure; bounded, and gone when it would be stale."""

from datetime import UTC, datetime

from prometheus_client import REGISTRY

from llegada.messaging import metrics
from llegada.messaging.measure import Measures
from llegada.messaging.replays import Replayer
from llegada.testing.plugin import ServiceDatabase


def sample(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


async def test_an_open_breaker_shows_per_provider_until_it_closes(service_database: ServiceDatabase) -> None:
    database = await service_database("payment_worker")
    labels = {"service": "measured", "provider": "bold"}
    measures = Measures("measured")
    async with database.connection() as connection:
        await connection.execute("insert into breakers (key, failures, open_until) values ('bold/1', 5, now())")
        await measures.take(connection)
        assert sample("llegada_circuits_open", **labels) == 1
        assert sample("llegada_outbox_rows", service="measured") == 0
        await connection.execute("delete from breakers")
        await measures.take(connection)
        assert sample("llegada_circuits_open", **labels) == 0


async def test_a_relay_that_stands_by_says_nothing_about_the_outbox(service_database: ServiceDatabase) -> None:
    database = await service_database("payment_worker")
    measures = Measures("standby")
    async with database.connection() as connection:
        await measures.take(connection)
    assert sample("llegada_outbox_oldest_seconds", service="standby") is not None
    measures.forget()
    assert sample("llegada_outbox_oldest_seconds", service="standby") is None


async def test_dead_letters_of_many_kinds_make_a_bounded_number_of_series(service_database: ServiceDatabase) -> None:
    database = await service_database("reservation_api")
    async with database.connection() as connection:
        await connection.execute(
            "insert into dead_letters (organization_id, service, queue, subscriber, message_id, pass, attempts, type,"
            " subject, lane, correlation_id, properties, body, origin, error_class, reason, fingerprint, failed_at,"
            " headers) select 1, 'kept', 'kept.q', 'kept.q', gen_random_uuid(), 0, 1, 't', 's', 0, 'c', '{}', '', "
            " 'settled', 'permanent', 'r', 'f' || (n % 50), $1, '{}' from generate_series(1, 120) n",
            datetime.now(UTC),
        )
    await Replayer(database, {"kept": "reservation_api"}).clean()
    series = [s for m in metrics.DEAD_LETTERS_OPEN.collect() for s in m.samples]
    assert len(series) == 21
    assert sum(s.value for s in series) == 120
    assert sample("llegada_dead_letters_open", service="kept", subscriber="other", error_class="other",
                  fingerprint="other") == 60  # fmt: skip


def test_what_has_not_happened_yet_shows_as_zero() -> None:
    metrics.begin("fresh", "fresh.job")
    labels = {"service": "fresh", "subscriber": "fresh.job"}
    assert sample("llegada_deliveries_total", **labels, outcome="dead") == 0
    assert sample("llegada_failures_total", **labels, failure_class="credentials") == 0
