"""How a task moves, and who may move it. Pure.

    open ⇄ in_progress → done
                       → quality_control → done, or → improval → in_progress, quality_control

Where somebody else looks before it is done (`quality_control`), it is done by another person than the one who
finished it. Done is final, but for an admin who opens it again.
"""

from dataclasses import dataclass

from llegada.events.task import TaskStatus
from reservation_api.problems import Conflict, Forbidden

_MOVES: dict[TaskStatus, tuple[TaskStatus, ...]] = {
    "open": ("in_progress", "quality_control", "done"),
    "in_progress": ("open", "quality_control", "done"),
    "improval": ("in_progress", "quality_control"),
    "quality_control": ("improval", "done"),
    "done": ("open",),
}


@dataclass(frozen=True)
class Moved:
    """`finished_by`: who said that the work is done; None: nobody says so any more."""

    status: TaskStatus
    finished_by: str | None


def possible(status: TaskStatus, *, controlled: bool) -> list[TaskStatus]:
    """Where a task can go from here."""
    without = "done" if controlled and status in ("open", "in_progress") else "" if controlled else "quality_control"
    return [to for to in _MOVES[status] if to != without]


def move(
    status: TaskStatus, to: TaskStatus, *, controlled: bool, finished_by: str | None, actor: str, admin: bool
) -> Moved:
    """Raises Conflict for a move that there is not, Forbidden for one that is somebody else's."""
    allowed = possible(status, controlled=controlled)
    if to not in allowed:
        raise Conflict(f"the task is {status} and cannot become {to}; possible: {', '.join(allowed)}")
    if status == "quality_control" and actor == finished_by:
        raise Forbidden("whoever finished the task does not control it; somebody else has to look")
    if status == "done" and not admin:
        raise Forbidden("only an admin opens a task again that is done")
    if to in ("quality_control", "done") and status != "quality_control":
        return Moved(to, actor)
    return Moved(to, finished_by if to == "done" else None)
