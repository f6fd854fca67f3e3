"""Metrics of the runtime; the messaging paths declare theirs in `llegada.messaging.metrics`."""

from prometheus_client import Gauge, Histogram

PROVIDER_SECONDS = Histogram(
    "llegada_provider_request_seconds",
    "Calls at providers, by outcome (2xx … 5xx, failed)",
    ["provider", "operation", "outcome"],
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0),
)
HTTP_SECONDS = Histogram(
    "llegada_http_request_seconds",
    "Requests answered, by route template",
    ["service", "method", "route", "status"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
PERIODIC = Gauge(
    "llegada_periodic_work_timestamp_seconds",
    "When a clockwork was last done, epoch seconds",
    ["service", "work"],
)
SYNTHETIC_AGE = Gauge(
    "llegada_synthetic_reservation_age_seconds",
    "Age of the newest synthetic reservation that came all the way through; grows while the way is not open",
    ["organization"],
)
