"""Metrics of the messaging paths, declared once; the label `service` tells processes and rooms apart."""

from prometheus_client import Counter, Gauge, Histogram

from llegada.messaging.failures import FailureClass

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 45.0)

DELIVERIES = Counter("llegada_deliveries", "Deliveries settled, by outcome", ["service", "subscriber", "outcome"])
DELIVERY_SECONDS = Histogram(
    "llegada_delivery_seconds",
    "From receiving a delivery to its settlement",
    ["service", "subscriber"],
    buckets=_SECONDS,
)
OUTCOMES = ("done", "skipped", "duplicate", "retrying", "waiting", "dead", "lease lost")
IN_FLIGHT = Gauge("llegada_deliveries_in_flight", "Deliveries being worked", ["service", "subscriber"])
FAILURES = Counter("llegada_failures", "Failed attempts, by class", ["service", "subscriber", "failure_class"])
HELD = Gauge("llegada_deliveries_held", "Deliveries that wait for the database", ["service"])
CONSUMING = Gauge("llegada_consuming", "1 where every queue of the service is being consumed", ["service"])
UNKNOWN_OUTCOMES = Counter(
    "llegada_unknown_outcomes", "Attempts of which nobody knows what they did", ["service", "kind"]
)
LEASES_LOST = Counter("llegada_leases_lost", "Effects finished after their lease had gone", ["service", "kind"])
OUTBOX_PUBLISHED = Counter("llegada_outbox_published", "Outbox rows confirmed by the broker", ["service"])
OUTBOX_UNROUTABLE = Counter("llegada_outbox_unroutable", "Outbox rows that the broker could not route", ["service"])
OUTBOX_ROWS = Gauge("llegada_outbox_rows", "Outbox rows that wait", ["service"])
OUTBOX_OLDEST_SECONDS = Gauge("llegada_outbox_oldest_seconds", "Age of the oldest waiting outbox row", ["service"])
RELAY_ACTIVE = Gauge("llegada_relay_active", "1 where this process is the service's one relay", ["service"])
DEAD_LETTERS_OPEN = Gauge(
    "llegada_dead_letters_open",
    "Dead letters that nobody has settled, by kind of failure; the smallest kinds together as `other`",
    ["service", "subscriber", "error_class", "fingerprint"],
)
RATE_LIMIT_WAIT_SECONDS = Histogram(
    "llegada_rate_limit_wait_seconds",
    "Waits for a slot under a provider's limit, slept here or on the ladder",
    ["service", "provider"],
    buckets=(0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0),
)
CIRCUITS_OPEN = Gauge(
    "llegada_circuits_open", "Accounts whose breaker is open, or waits for its probe", ["service", "provider"]
)
CIRCUIT_OPENED = Counter(
    "llegada_circuit_opened", "Failed calls that found or made the breaker open", ["service", "provider"]
)


def begin(service: str, subscriber: str) -> None:
    """Show what has not happened yet as 0: the first failure after a start is a rise then, not a new series."""
    for outcome in OUTCOMES:
        DELIVERIES.labels(service=service, subscriber=subscriber, outcome=outcome)
    for failure_class in FailureClass:
        FAILURES.labels(service=service, subscriber=subscriber, failure_class=failure_class.value)
