"""The store of documents where an installation has one: an S3-compatible bucket. Objects are written and never changed.

The key ends with the bytes' checksum: a document that is written again is the same object, and one that came out
differently (a newer typesetter between two attempts) replaces nothing.

| answer                                                     | failure                                             |
|------------------------------------------------------------|-----------------------------------------------------|
| 401, 403 (AccessDenied, InvalidAccessKeyId, …)             | Credentials                                         |
| 404 NoSuchBucket, other 4xx (AuthorizationHeaderMalformed) | Permanent                                           |
| 408, 429, 5xx, no answer                                   | ProviderDown: waits; no attempt is used up, because |
|                                                            | writing the same object twice harms nobody          |

Codes: docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Self

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store
from pydantic import BaseModel, ConfigDict, SecretStr, StringConstraints, model_validator

from llegada.events.file import File
from llegada.messaging import tracing
from llegada.messaging.failures import Credentials, Failure, Permanent, ProviderDown

if TYPE_CHECKING:  # obstore has these in its stubs alone
    from obstore.store import ClientConfig, RetryConfig, S3Config

_AGAIN = timedelta(seconds=30)
_LATER = frozenset({408, 429})
_STATUS, _CODE = re.compile(r"status code: ([0-9]{3})"), re.compile(r"<Code>(\w+)</Code>")
_ADVICE = "Check BACKOFFICE_WORKER_S3: bucket, region, and keys that may write; then replay the dead letters."


class Bucket(BaseModel):
    """`endpoint`: of a store that is not Amazon's. Without keys: the machine's own identity (IRSA, pod identity)."""

    model_config = ConfigDict(extra="forbid")

    bucket: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    region: str = "us-east-1"
    endpoint: Annotated[str, StringConstraints(pattern=r"^https?://")] | None = None
    access_key_id: str | None = None
    secret_access_key: SecretStr | None = None

    @model_validator(mode="after")
    def _both_keys(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key belong together")
        return self

    def open(self) -> S3Store:
        """Asks nobody yet."""
        config: S3Config = {"region": self.region}
        if self.endpoint is not None:
            config["endpoint"] = self.endpoint
        if self.access_key_id is not None and self.secret_access_key is not None:
            config["access_key_id"] = self.access_key_id
            config["secret_access_key"] = self.secret_access_key.get_secret_value()
        client: ClientConfig = {"connect_timeout": "2s", "timeout": "3s", "allow_http": True}
        retry: RetryConfig = {"max_retries": 1, "retry_timeout": timedelta(seconds=3)}
        return S3Store(self.bucket, config=config, client_options=client, retry_config=retry)


class Archive:
    """Writes documents into the bucket."""

    def __init__(self, bucket: Bucket) -> None:
        self._name = bucket.bucket
        self._store = bucket.open()

    async def keep(self, file: File, folder: str) -> File:
        """The same file by reference, once the store has its bytes. Raises the failures of this module."""
        key = f"{folder}/{file.sha256}.pdf"
        try:
            with tracing.call("s3", "put"):
                await obstore.put_async(self._store, key, file.read(), attributes={"Content-Type": file.media_type})
        except (BaseError, OSError) as error:
            raise failure_of(error, self._name) from error
        return file.moved_to(key)


def failure_of(error: Exception, bucket: str) -> Failure:
    """What the client's error stands for. Its text names bucket and key, and no secret."""
    text = str(error).partition("\n\nDebug source:")[0]
    found, told = _STATUS.search(text), _CODE.search(text)
    status = 0 if found is None else int(found.group(1))
    code = type(error).__name__ if told is None else told.group(1)
    if status in (401, 403):
        return Credentials(f"the store of documents refuses us in bucket {bucket} ({code})", code=code, advice=_ADVICE)
    if 400 <= status < 500 and status not in _LATER:  # noqa: PLR2004 - RFC 9110 §15.5
        said = "has no bucket" if status == 404 else "does not take documents into bucket"  # noqa: PLR2004 - the same
        return Permanent(f"the store of documents {said} {bucket} ({code})", code=code, advice=_ADVICE)
    return ProviderDown(f"the store of documents does not answer ({code})", code=code, retry_after=_AGAIN)
