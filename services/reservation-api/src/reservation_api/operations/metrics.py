"""Metrics about hostels instead of queues. Replicas measure side by side: rules and panels take `max` or a ratio."""

from prometheus_client import Counter, Gauge, Histogram

BOOKING_MESSAGES = Counter(
    "llegada_booking_messages",
    "Bookings that are two minutes old, by whether the guest had the message by then",
    ["outcome"],
)
BOOKING_MESSAGE_SECONDS = Histogram(
    "llegada_booking_message_seconds",
    "From booking to message; one that had not left after two minutes counts with its age then",
    buckets=(1.0, 2.5, 5.0, 10.0, 20.0, 45.0, 90.0, 120.0, 300.0),
)
RECENT_RESERVATIONS = Gauge(
    "llegada_recent_reservations", "Reservations of the last seven days, by state", ["status", "payment"]
)
RECENT_PAID_PESOS = Gauge("llegada_recent_paid_pesos", "What was paid for the reservations of the last seven days")
SIRE_ROWS = Gauge("llegada_sire_rows", "Guests' movements that the authority does not have yet, by state", ["state"])
SIRE_DEADLINE = Gauge(
    "llegada_sire_next_deadline_timestamp_seconds",
    "When the next movement must be with the authority, epoch seconds; +Inf where none waits",
)
SIRE_DEADLINE.set(float("inf"))  # nothing is due as long as nobody has looked; workers import this, and never look
