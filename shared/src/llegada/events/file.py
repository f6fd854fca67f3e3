"""A file that an event speaks of, because services share no disk: inside the event, or in a store under a key."""

import hashlib
from base64 import b64decode, b64encode
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from llegada.events.types import Value


class File(Value):
    """`content`: base64 (RFC 4648), or empty, and then `stored_at` is the key of the object in the installation's
    store. `sha256`: of the bytes, in hex. Kept out of logs and timelines.
    """

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,120}$")]
    media_type: str = "application/pdf"
    content: str = ""
    stored_at: str | None = None
    sha256: str
    pages: Annotated[int, Field(ge=1)]

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if (self.content == "") == (self.stored_at is None):
            raise ValueError(f"the file {self.name} is either inside the event or in a store")
        return self

    @classmethod
    def of(cls, name: str, content: bytes, pages: int) -> "File":
        digest = hashlib.sha256(content).hexdigest()
        return cls(name=name, content=b64encode(content).decode("ascii"), sha256=digest, pages=pages)

    def moved_to(self, key: str) -> "File":
        """The same file, whose bytes lie in the store under `key` now."""
        return self.model_copy(update={"content": "", "stored_at": key})

    def checked(self, content: bytes) -> bytes:
        """The bytes, from wherever they came. Raises ValueError if they are not the ones that were made."""
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ValueError(f"the file {self.name} does not have the checksum {self.sha256}")
        return content

    def read(self) -> bytes:
        """The bytes inside the event. Raises ValueError if they are not the ones that were sent."""
        return self.checked(b64decode(self.content, validate=True))
