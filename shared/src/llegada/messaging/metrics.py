"""Metrics of the messaging paths, declared once; the label `service` tells processes and rooms apart."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 45.0)

DELIVERIES = Counter("llegada_deliveries", "Deliveries settled, by outcome", ["service", "subscriber", "outcome"])
DELIVERY_SECONDS = Histogram(
    "llegada_delivery_seconds",
    "From receiving a delivery to its settlement",
    ["service", "subscriber"],
    buckets=_SECONDS,
)
IN_FLIGHT = Gauge("llegada_deliveries_in_flight", "Deliveries being worked", ["service", "subscriber"])
FAILURES = Counter("llegada_failures", "Failed attempts, by class", ["service", "subscriber", "failure_class"])
UNKNOWN_OUTCOMES = Counter(
    "llegada_unknown_outcomes", "Attempts of which nobody knows what they did", ["service", "kind"]
)
LEASES_LOST = Counter("llegada_leases_lost", "Effects finished after their lease had gone", ["service", "kind"])
OUTBOX_PUBLISHED = Counter("llegada_outbox_published", "Outbox rows confirmed by the broker", ["service"])
OUTBOX_UNROUTABLE = Counter("llegada_outbox_unroutable", "Outbox rows that the broker could not route", ["service"])
OUTBOX_ROWS = Gauge("llegada_outbox_rows", "Outbox rows that wait", ["service"])
OUTBOX_OLDEST_SECONDS = Gauge("llegada_outbox_oldest_seconds", "Age of the oldest waiting outbox row", ["service"])
RELAY_ACTIVE = Gauge("llegada_relay_active", "1 where this process is the service's one relay", ["service"])
DEAD_LETTERS_OPEN = Gauge("llegada_dead_letters_open", "Dead letters that nobody has settled", ["service"])
CIRCUIT_OPENED = Counter(
    "llegada_circuit_opened", "Failed calls that found or made the breaker open", ["service", "provider"]
)
