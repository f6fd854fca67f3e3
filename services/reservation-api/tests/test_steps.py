"""Steps from reports in any order, any number of times."""

from itertools import permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llegada.events.event import RECEIPT, StepReport, StepState
from reservation_api.timeline.steps import Steps, advance, expect, processing_status

REPORTS = st.builds(
    StepReport,
    step=st.sampled_from(["paymentLink", "confirmation"]),
    state=st.sampled_from([StepState.PROCESSING, StepState.FAILED]),
    intent=st.integers(1, 3),
    job=st.sampled_from(["a", "b"]),
    pass_=st.integers(0, 3),
)
FACTS = st.builds(StepReport, step=st.just("paymentLink"), state=st.just(StepState.COMPLETED), intent=st.integers(1, 3))
RECEIPTS = st.builds(
    StepReport,
    step=st.just("confirmation"),
    state=st.sampled_from([StepState.COMPLETED, StepState.FAILED]),
    intent=st.integers(1, 3),
    job=st.just(RECEIPT),
)


def states(reports: list[StepReport]) -> dict[str, tuple[int, str]]:
    steps: Steps = expect({}, {"paymentLink": 1, "confirmation": 1})
    for report in reports:
        steps = advance(steps, report)
    return {name: (step.intent, step.state.value) for name, step in steps.items()}


@given(st.lists(REPORTS | FACTS | RECEIPTS, max_size=8), st.randoms(use_true_random=False))
def test_order_and_duplicates_change_nothing(reports: list[StepReport], source: Random) -> None:
    shuffled = [*reports, *reports]
    source.shuffle(shuffled)
    assert states(shuffled) == states(reports)


def report(state: StepState, pass_: int = 0, job: str = "a", intent: int = 1) -> StepReport:
    return StepReport(step="paymentLink", state=state, pass_=pass_, job=job, intent=intent)


def test_a_fact_wins_over_every_report() -> None:
    fact = StepReport(step="paymentLink", state=StepState.COMPLETED, intent=1)
    assert states([fact, report(StepState.FAILED, 9)])["paymentLink"] == (1, "completed")


@pytest.mark.parametrize("order", list(permutations(["sent", "failed", "arrived"])))
def test_a_message_that_arrived_has_arrived_whatever_was_told_before_or_after(order: tuple[str, ...]) -> None:
    told = {
        "sent": StepReport(step="paymentLink", state=StepState.COMPLETED, intent=1),
        "failed": report(StepState.FAILED, job=RECEIPT),
        "arrived": report(StepState.COMPLETED, job=RECEIPT),
    }
    assert states([told[word] for word in order])["paymentLink"] == (1, "completed")
    known = [told[word] for word in order if word != "arrived"]
    assert states(known)["paymentLink"] == (1, "failed"), "until it arrives it has not"


def test_a_new_intent_starts_the_step_anew() -> None:
    fact = StepReport(step="paymentLink", state=StepState.COMPLETED, intent=1)
    assert states([fact, report(StepState.PROCESSING, intent=2)])["paymentLink"] == (2, "processing")


def test_a_later_pass_has_the_last_word() -> None:
    assert states([report(StepState.FAILED, 2), report(StepState.PROCESSING, 3)])["paymentLink"][1] == "processing"
    assert states([report(StepState.FAILED, 2), report(StepState.PROCESSING, 1)])["paymentLink"][1] == "failed"


def test_one_word_for_the_whole_booking() -> None:
    pending = expect({}, {"paymentLink": 1, "confirmation": 1})
    assert processing_status(pending) == "pending"
    assert processing_status(advance(pending, report(StepState.PROCESSING))) == "processing"
    assert processing_status(advance(pending, report(StepState.FAILED))) == "failed"
    linked = advance(pending, StepReport(step="paymentLink", state=StepState.COMPLETED, intent=1))
    assert processing_status(linked) == "processing"
    sent = advance(linked, StepReport(step="confirmation", state=StepState.COMPLETED, intent=1))
    assert processing_status(sent) == "completed"
