"""What a replay would do, from what is known here: how many would be tried, and how many of them for nothing."""

from collections import Counter
from typing import Any

from llegada.events.event import Event, event_types
from llegada.messaging.dead_letter_desk import Selection, find
from llegada.messaging.transaction import Transaction
from llegada.runtime.discovery import installed
from reservation_api.timeline.steps import Step

_PAGE = 500
_BODIES = """
select d.subscriber, d.type, coalesce(d.edited_body, d.body) as body, r.steps
from dead_letters d
left join reservations r on d.organization_id = r.organization_id
    and r.id = case when d.subject ~ '^reservation/[0-9]{1,18}$' then split_part(d.subject, '/', 2)::bigint end
where d.id = any($1::bigint[])
"""


async def dry_run(tx: Transaction, selection: Selection) -> dict[str, Any]:
    """`wouldBeTried`, `alreadyDone`, `newerWanted`, `cannotBeRead`: numbers that add up to `total`."""
    types = event_types()
    jobs = {f"{name}.{s.action}": s.step for name, service in installed().items() for s in service.subscriptions}
    counts: Counter[str] = Counter()
    page, total = 1, 0
    while True:
        found = await find(tx, selection, page, _PAGE)
        total = found.total
        for row in await tx.fetch(_BODIES, [row["id"] for row in found.rows]):
            counts[_fate(types.get(row["type"]), row["body"], row["steps"], jobs.get(row["subscriber"]))] += 1
        if page * _PAGE >= total:
            break
        page += 1
    names = ("wouldBeTried", "alreadyDone", "newerWanted", "cannotBeRead")
    return {"total": total, **{name: counts[name] for name in names}}


def _fate(cls: type[Event] | None, content: bytes, steps: dict[str, Any] | None, job_step: str | None) -> str:
    try:
        event: Event | None = None if cls is None else cls.model_validate_json(content)
    except ValueError:
        event = None
    if event is None:
        return "cannotBeRead"
    name = job_step or event.step or ""
    wanted = event.expected_steps().get(name, getattr(event, "intent", 1))
    step = Step.model_validate((steps or {}).get(name, {"intent": 0}))
    if step.intent > wanted:
        return "newerWanted"
    return "alreadyDone" if step.fact is not None and step.intent == wanted else "wouldBeTried"
