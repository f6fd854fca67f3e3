"""What the dashboards show: titles, questions, units. `dashboards` makes Grafana's JSON of it.

`$service` and `$provider` are variables of their dashboards; `$__rate_interval` is Grafana's.
"""

from dataclasses import dataclass

_RATE = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """`queries`: expression → legend. `now`: a single number instead of a curve."""

    title: str
    why: str
    unit: str
    queries: dict[str, str]
    now: bool = False


@dataclass(frozen=True)
class Board:
    """`rows`: title → panels. `variables`: name → the query that lists its values."""

    uid: str
    title: str
    rows: dict[str, list[Panel]]
    variables: dict[str, str]


def _quantiles(metric: str, matchers: str, by: str, legend: str) -> dict[str, str]:
    buckets = f"sum by (le{by}) (rate({metric}_bucket{{{matchers}}}{_RATE}))"
    return {f"histogram_quantile({q}, {buckets})": f"p{q[2:]:0<2} {legend}" for q in ("0.5", "0.95", "0.99")}


_CHANGES = 'method="POST", route=~"/api/reservations.*"'
_OF = 'service=~"$service"'

OPERATORS = Board(
    "llegada-operators",
    "Llegada: operators",
    {
        "The two promises": [
            Panel(
                "Answers within 50 ms",
                "Requests that change a reservation; the promise is 99 %.",
                "percentunit",
                {
                    f'sum(rate(llegada_http_request_seconds_bucket{{{_CHANGES}, status=~"2..", le="0.05"}}{_RATE}))'
                    f' / sum(rate(llegada_http_request_seconds_count{{{_CHANGES}, status!~"4.."}}{_RATE}))': "share"
                },
            ),
            Panel(
                "Messages within two minutes",
                "Bookings in which no provider failed; the promise is 99 %. Empty while nobody books.",
                "percentunit",
                {
                    'sum(increase(llegada_booking_messages_total{outcome="in_time"}[1h]))'
                    ' / sum(increase(llegada_booking_messages_total{outcome=~"in_time|late"}[1h]))': "share, 1 h"
                },
            ),
            Panel(
                "Open dead letters",
                "Each is something that somebody did not get, and waits for a decision.",
                "short",
                {
                    "sum by (subscriber, error_class, fingerprint) (max by (subscriber, error_class, fingerprint)"
                    " (llegada_dead_letters_open))": "{{subscriber}} {{error_class}} {{fingerprint}}"
                },
            ),
            Panel(
                "Age of the synthetic reservation",
                "About a minute while the way from booking to message is open; 0 where none is configured.",
                "s",
                {"min(llegada_synthetic_reservation_age_seconds) or vector(0)": "age"},
            ),
            Panel(
                "Hours to the next SIRE deadline",
                "+Inf: nothing waits for the authority.",
                "h",
                {"(min(llegada_sire_next_deadline_timestamp_seconds) - time()) / 3600": "hours"},
                now=True,
            ),
        ],
        "Requests": [
            Panel(
                "Rate by route",
                "Route templates; `unmatched` is what no route takes.",
                "reqps",
                {f"sum by (method, route) (rate(llegada_http_request_seconds_count{_RATE}))": "{{method}} {{route}}"},
            ),
            Panel(
                "Errors by route",
                "4xx are the client's, 5xx ours.",
                "reqps",
                {
                    f'sum by (route, status) (rate(llegada_http_request_seconds_count{{status=~"[45].."}}{_RATE}))'
                    " or vector(0)": "{{status}} {{route}}"
                },
            ),
            Panel(
                "Answers by route",
                "The slowest of a hundred.",
                "s",
                {
                    "histogram_quantile(0.99, sum by (le, method, route) (rate(llegada_http_request_seconds_bucket"
                    f"{_RATE})))": "p99 {{method}} {{route}}"
                },
            ),
        ],
        "Handlers": [
            Panel(
                "Settled",
                "By outcome: retrying uses up an attempt, waiting does not.",
                "ops",
                {
                    f"sum by (subscriber, outcome) (rate(llegada_deliveries_total{{{_OF}}}{_RATE})) > 0": (
                        "{{subscriber}} {{outcome}}"
                    )
                },
            ),
            Panel(
                "Failed attempts",
                "By class; what happens then: docs/architecture/delivery.md.",
                "ops",
                {
                    f"sum by (subscriber, failure_class) (rate(llegada_failures_total{{{_OF}}}{_RATE}))": (
                        "{{subscriber}} {{failure_class}}"
                    )
                },
            ),
            Panel(
                "From delivery to settlement",
                "With the call at the provider and the waits for its limits of up to a second.",
                "s",
                _quantiles("llegada_delivery_seconds", _OF, ", subscriber", "{{subscriber}}"),
            ),
            Panel(
                "In flight",
                "Being worked; held: wait for the database.",
                "short",
                {
                    f"sum by (subscriber) (llegada_deliveries_in_flight{{{_OF}}})": "{{subscriber}}",
                    f"sum by (service) (llegada_deliveries_held{{{_OF}}})": "{{service}} held",
                },
            ),
            Panel(
                "Retries",
                "Deliveries that went to a rung of the ladder.",
                "ops",
                {
                    f'sum by (subscriber, outcome) (rate(llegada_deliveries_total{{{_OF}, outcome=~"retrying|waiting"}}'
                    f"{_RATE}))": "{{subscriber}} {{outcome}}"
                },
            ),
            Panel(
                "Unknown outcomes",
                "Effects of which nobody knew what they did, and that were looked up.",
                "short",
                {f"sum by (kind) (increase(llegada_unknown_outcomes_total{{{_OF}}}[1h]))": "{{kind}}, 1 h"},
            ),
        ],
        "On the way": [
            Panel(
                "Outboxes: rows",
                "What waits for the broker.",
                "short",
                {"max by (service) (llegada_outbox_rows)": "{{service}}"},
            ),
            Panel(
                "Outboxes: oldest row",
                "Above a minute the alert OutboxStuck says so.",
                "s",
                {"max by (service) (llegada_outbox_oldest_seconds)": "{{service}}"},
            ),
            Panel(
                "Relays",
                "One per service.",
                "short",
                {"sum by (service) (llegada_relay_active)": "{{service}}"},
            ),
            Panel(
                "Queues by lane",
                "Messages that wait in the queues.",
                "short",
                {"sum by (subscriber, lane) (llegada:queue_ready)": "{{subscriber}} {{lane}}"},
            ),
            Panel(
                "Rungs",
                "Retries that wait for their time.",
                "short",
                {
                    'sum by (queue) (rabbitmq_detailed_queue_messages_ready{queue=~"llegada[.]retry.*"})': "{{queue}}",
                },
            ),
            Panel(
                "Published",
                "Rows that left, by service.",
                "ops",
                {f"sum by (service) (rate(llegada_outbox_published_total{_RATE}))": "{{service}}"},
            ),
            Panel(
                "Clockworks",
                "Since each was last done.",
                "s",
                {"time() - max by (service, work) (llegada_periodic_work_timestamp_seconds)": "{{work}}"},
            ),
        ],
    },
    {"service": "label_values(llegada_deliveries_total, service)"},
)

_BOOKING = "llegada_booking_message_seconds"
OWNER = Board(
    "llegada-owner",
    "Llegada: the house",
    {
        "Bookings": [
            Panel(
                "Reservations of the last seven days",
                "By state of the stay.",
                "short",
                {"sum by (status) (max by (status, payment) (llegada_recent_reservations))": "{{status}}"},
            ),
            Panel(
                "Payment rate",
                "Of the last seven days' reservations, how many are paid.",
                "percentunit",
                {
                    '(sum(max by (status, payment) (llegada_recent_reservations{payment="paid"})) or vector(0))'
                    " / sum(max by (status, payment) (llegada_recent_reservations))": "paid"
                },
                now=True,
            ),
            Panel(
                "Paid, last seven days",
                "Whole pesos.",
                "short",
                {"max(llegada_recent_paid_pesos)": "COP"},
                now=True,
            ),
        ],
        "Messages": [
            Panel(
                "From booking to message",
                "How long guests wait; what had not left after two minutes stands above that line.",
                "s",
                {
                    f"histogram_quantile({q}, sum by (le) (increase({_BOOKING}_bucket[6h])))": label
                    for q, label in (("0.5", "half of the guests"), ("0.95", "19 of 20"))
                },
            ),
            Panel(
                "Messages in time, late, excused",
                "Excused: a provider failed, or the message was not wanted any more.",
                "short",
                {"max by (outcome) (increase(llegada_booking_messages_total[1d]))": "{{outcome}}, 1 d"},
            ),
            Panel(
                "Registrations that the authority does not have",
                "By state; staff upload the day's file.",
                "short",
                {"max by (state) (llegada_sire_rows)": "{{state}}"},
            ),
        ],
    },
    {},
)

_AT = 'provider=~"$provider"'
_CALLS = "llegada_provider_request_seconds_count"
_WAITS = "llegada_rate_limit_wait_seconds"
PROVIDERS = Board(
    "llegada-providers",
    "Llegada: providers",
    {
        "Calls": [
            Panel(
                "Calls by outcome",
                "By HTTP; `failed`: no answer.",
                "reqps",
                {
                    f"sum by (provider, operation, outcome) (rate({_CALLS}{{{_AT}}}"
                    f"{_RATE}))": "{{provider}} {{operation}} {{outcome}}"
                },
            ),
            Panel(
                "Errors",
                "Share of calls without a proper answer.",
                "percentunit",
                {
                    f'(sum by (provider) (rate({_CALLS}{{{_AT}, outcome=~"5xx|failed"}}'
                    f"{_RATE})) or 0 * sum by (provider) (rate({_CALLS}{{{_AT}}}{_RATE})))"
                    f" / sum by (provider) (rate({_CALLS}{{{_AT}}}{_RATE}))": "{{provider}}"
                },
            ),
            Panel(
                "Latency",
                "As we wait for it.",
                "s",
                _quantiles("llegada_provider_request_seconds", _AT, ", provider", "{{provider}}"),
            ),
        ],
        "Protection": [
            Panel(
                "Open breakers",
                "Accounts that wait; deliveries use up no attempt.",
                "short",
                {f"sum by (provider) (max by (service, provider) (llegada_circuits_open{{{_AT}}}))": "{{provider}}"},
            ),
            Panel(
                "Waits for a slot",
                "How many deliveries a second were told to wait by our own limits.",
                "ops",
                {f"sum by (provider) (rate({_WAITS}_count{{{_AT}}}{_RATE}))": "{{provider}}"},
            ),
            Panel(
                "Length of these waits",
                "The mean; above a second they wait on the ladder.",
                "s",
                {
                    f"sum by (provider) (increase({_WAITS}_sum{{{_AT}}}[1h]))"
                    f" / sum by (provider) (increase({_WAITS}_count{{{_AT}}}[1h]))": "{{provider}}"
                },
            ),
        ],
    },
    {"provider": "label_values(llegada_provider_request_seconds_count, provider)"},
)

BOARDS = (OPERATORS, OWNER, PROVIDERS)
