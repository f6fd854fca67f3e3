"""A file that travels in an event, because services share no disk."""

import hashlib
from base64 import b64decode, b64encode
from typing import Annotated

from pydantic import Field, StringConstraints

from llegada.events.types import Value


class File(Value):
    """`content`: base64 (RFC 4648). `sha256`: of the bytes, in hex. Kept out of logs and timelines."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,120}$")]
    media_type: str = "application/pdf"
    content: str
    sha256: str
    pages: Annotated[int, Field(ge=1)]

    @classmethod
    def of(cls, name: str, content: bytes, pages: int) -> "File":
        digest = hashlib.sha256(content).hexdigest()
        return cls(name=name, content=b64encode(content).decode("ascii"), sha256=digest, pages=pages)

    def read(self) -> bytes:
        """The bytes. Raises ValueError if they are not the ones that were sent."""
        content = b64decode(self.content, validate=True)
        if hashlib.sha256(content).hexdigest() != self.sha256:
            raise ValueError(f"the file {self.name} does not have the checksum {self.sha256}")
        return content
