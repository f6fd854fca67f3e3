"""A document's bytes for an e-mail: from the event, or from the S3-compatible bucket that backoffice-worker fills.

| answer                                         | failure                                    |
|------------------------------------------------|--------------------------------------------|
| 401, 403 (AccessDenied, InvalidAccessKeyId, …) | Credentials                                |
| 404 NoSuchKey, NoSuchBucket; wrong checksum    | Permanent                                  |
| anything else, no answer                       | ProviderDown: waits, no attempt is used up |

Codes: docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Self

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store
from pydantic import BaseModel, ConfigDict, SecretStr, StringConstraints, model_validator

from llegada.events.file import File
from llegada.messaging import tracing
from llegada.messaging.failures import Credentials, Failure, Permanent, ProviderDown

if TYPE_CHECKING:  # obstore has these in its stubs alone
    from obstore.store import ClientConfig, RetryConfig, S3Config

_AGAIN = timedelta(seconds=30)
_SETTING = "Check NOTIFICATION_WORKER_S3: bucket, region, and keys that may read; then replay the dead letters."
_GONE = "Restore the object from the bucket's backup, or make the statement again and send that."


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
    """Reads documents. `bucket`: None where they travel in their events."""

    def __init__(self, bucket: Bucket | None = None) -> None:
        self._store = None if bucket is None else bucket.open()

    async def read(self, file: File) -> bytes:
        """The bytes that were made. Raises the failures of this module."""
        try:
            return file.read() if file.stored_at is None else file.checked(await self._fetch(file.stored_at))
        except ValueError as error:
            raise Permanent(str(error), code="checksum", advice=_GONE) from error

    async def _fetch(self, key: str) -> bytes:
        if self._store is None:
            raise Credentials("the file lies in a store, and NOTIFICATION_WORKER_S3 is not set", advice=_SETTING)
        try:
            with tracing.call("s3", "get"):
                found = await obstore.get_async(self._store, key)
                return bytes(await found.bytes_async())
        except (BaseError, OSError) as error:
            raise failure_of(error, key) from error


def failure_of(error: Exception, key: str) -> Failure:
    """What the client's error stands for."""
    code = type(error).__name__
    match error:
        case FileNotFoundError():
            return Permanent(f"the store of documents does not have {key}", code=code, advice=_GONE)
        case PermissionDeniedError() | UnauthenticatedError():
            return Credentials("the store of documents refuses us", code=code, advice=_SETTING)
    return ProviderDown(f"the store of documents does not answer ({code})", code=code, retry_after=_AGAIN)
