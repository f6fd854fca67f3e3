"""Why a step is not done, in one sentence, and what staff can do next, for those who stand at the front desk. Pure.

A job says its own reason, and advice where it knows better; what it leaves open is said here, so that no open step is
ever without both.
"""

from collections.abc import Mapping
from typing import NamedTuple

from llegada.events.event import StepReport, StepState
from llegada.events.reservation import (
    CHECK_IN_CONFIRMATION,
    CONFIRMATION,
    INVITATION,
    PASSCODE,
    PAYMENT_LINK,
    PIN,
    WELCOME,
)

FACTS = (StepState.COMPLETED, StepState.SKIPPED)
"""States that a step does not leave by itself."""
_NOTHING = "Nothing has to be done"
_PATIENCE = f"{_NOTHING}. If it stays so for more than five minutes, tell the operator."
_OPERATOR = "Tell the operator, who can see what went wrong and start it again; until then do it by hand."
_NEEDS = {
    CONFIRMATION: (PAYMENT_LINK,),
    WELCOME: (PAYMENT_LINK, PASSCODE),
    CHECK_IN_CONFIRMATION: (PASSCODE,),
    PIN: (PASSCODE,),
    INVITATION: (PAYMENT_LINK,),
}
"""Message → the steps that it may wait for."""
_AWAITED = {PAYMENT_LINK: "the payment link", PASSCODE: "the door code"}
_PROVIDERS = {
    "bold": "Bold",
    "whatsapp": "WhatsApp",
    "ttlock": "TTLock",
    "smtp": "The mail server",
    "sire": "The SIRE gateway",
}
"""As metrics call them → as people do."""


class Why(NamedTuple):
    reason: str | None
    advice: str | None


def why(name: str, state: StepState, spoken: StepReport | None, others: Mapping[str, StepState]) -> Why:
    """`spoken`: the report that counts; `others`: the state of each step of the booking."""
    if state is StepState.COMPLETED:
        return Why(None, None)
    said = _default(name, state, spoken, others)
    reason, advice = (spoken.reason, spoken.advice) if spoken is not None else (None, None)
    return Why(sentence(reason) if reason else said.reason, sentence(advice) if advice else said.advice)


def sentence(text: str) -> str:
    """`smtp does not answer` → `The mail server does not answer.`"""
    words = " ".join(text.split())
    first, _, rest = words.partition(" ")
    words = f"{_PROVIDERS.get(first, first[:1].upper() + first[1:])} {rest}".strip()
    return words if words.endswith((".", "!", "?", "…")) else f"{words}."


def _default(name: str, state: StepState, spoken: StepReport | None, others: Mapping[str, StepState]) -> Why:
    match state:
        case StepState.FAILED:
            return Why("It did not work, and nobody said why.", _OPERATOR)
        case StepState.SKIPPED:
            return Why("It is not wanted any more.", f"{_NOTHING}.")
        case StepState.PROCESSING:
            again = spoken is not None and spoken.next_try_at is not None
            advice = f"{_NOTHING}: it is tried again by itself." if again else _PATIENCE
            return Why("It is being done at this moment.", advice)
        case _:
            return _waiting(name, others)


def _waiting(name: str, others: Mapping[str, StepState]) -> Why:
    open_facts = [fact for fact in _NEEDS.get(name, ()) if others.get(fact, StepState.COMPLETED) not in FACTS]
    for fact in sorted(open_facts, key=lambda fact: others[fact] is not StepState.FAILED):
        words = _AWAITED[fact]
        if others[fact] is StepState.FAILED:
            return Why(
                f"It waits for {words}, which has failed.", f"See to {words}; the message then leaves by itself."
            )
        return Why(f"It waits for {words}.", f"{_NOTHING}: it leaves by itself as soon as that is there.")
    return Why("It waits for its turn.", _PATIENCE)
