"""The keypads behind TTLock: which codes they hold, and what they refuse. Times are epoch milliseconds."""

import itertools
import random
from dataclasses import dataclass, field
from typing import Any

HOUR = 3_600_000
Refusal = tuple[int, str]


@dataclass
class Code:
    """A passcode. `custom`: chosen by the caller; `at_door`: whether the keypad really knows it."""

    id: int
    lock_id: int
    name: str
    digits: str
    start: int
    end: int
    custom: bool
    at_door: bool
    used: bool = False

    def shown(self) -> dict[str, Any]:
        return {
            "keyboardPwdId": self.id,
            "lockId": self.lock_id,
            "keyboardPwd": self.digits,
            "keyboardPwdName": self.name,
            "keyboardPwdType": 3,
            "startDate": self.start,
            "endDate": self.end,
            "isCustom": int(self.custom),
        }


@dataclass
class Keypads:
    """Every lock exists: the sandbox has as many as anybody asks for."""

    codes: dict[int, Code] = field(default_factory=dict)
    gone: set[tuple[int, int, int]] = field(default_factory=set)
    _ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(5001))

    def of(self, lock_id: int, search: str) -> list[Code]:
        return [code for code in self.codes.values() if code.lock_id == lock_id and search in code.name]

    def computed(self, lock_id: int, name: str, start: int, end: int) -> Code | Refusal:
        """A code for a period, from the algorithm that lock and cloud share: whole hours, one per window."""
        start, end = start // HOUR * HOUR, end // HOUR * HOUR
        if end <= start:
            return -3, "endDate must be after startDate"
        if (lock_id, start, end) in self.gone:
            return -1026, "this window was used, and its passcode deleted"
        for code in self.codes.values():
            if (code.lock_id, code.start, code.end, code.custom) == (lock_id, start, end, False):
                return code  # the algorithm knows one code per window
        digits = str(random.Random(f"{lock_id}/{start}/{end}").randrange(1_000_000, 9_999_999))  # noqa: S311
        return self._keep(Code(next(self._ids), lock_id, name, digits, start, end, custom=False, at_door=True))

    def chosen(self, lock_id: int, name: str, digits: str, start: int, end: int, add_type: int) -> Code | Refusal:
        """A code of the caller's own; without a gateway (`addType` 1) only the cloud knows it."""
        if not (digits.isdigit() and 4 <= len(digits) <= 9):  # noqa: PLR2004 - TTLock's own
            return -3006, "passcode length should be between 4 and 9 digits"
        if len(set(digits)) == 1 or digits in "0123456789876543210":
            return -2032, "passcode too simple"
        if any(code.lock_id == lock_id and code.digits == digits for code in self.codes.values()):
            return -3007, "same passcode already exists"
        return self._keep(Code(next(self._ids), lock_id, name, digits, start, end, custom=True, at_door=add_type != 1))

    def delete(self, lock_id: int, code_id: int) -> Code | Refusal:
        code = self.codes.get(code_id)
        if code is None or code.lock_id != lock_id:
            return -2009, "passcode does not exist"
        if not code.custom and not code.used:
            return -3008, "a passcode that was never used cannot be changed or deleted"
        if not code.custom:
            self.gone.add((lock_id, code.start, code.end))
        return self.codes.pop(code_id)

    def _keep(self, code: Code) -> Code:
        self.codes[code.id] = code
        return code
