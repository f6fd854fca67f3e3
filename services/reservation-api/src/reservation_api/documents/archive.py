"""Documents' bytes for a download: from their row, or from the S3-compatible bucket that backoffice-worker writes into.

The API reads them itself, instead of giving the browser a signed address: so the store needs no way in from outside,
what leaves is audited and has its checksum, and no address is worth anything to who finds it in a history or a log.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Self

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import S3Store
from pydantic import BaseModel, ConfigDict, SecretStr, StringConstraints, model_validator

from llegada.events.file import File
from llegada.messaging import tracing
from reservation_api.problems import StoreAway

if TYPE_CHECKING:  # obstore has these in its stubs alone
    from obstore.store import ClientConfig, RetryConfig, S3Config

log = structlog.get_logger()


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
    """Reads documents. `bucket`: None where everything is in the database."""

    def __init__(self, bucket: Bucket | None = None) -> None:
        self._store = None if bucket is None else bucket.open()

    async def read(self, file: File) -> bytes:
        """The bytes that were made. Raises StoreAway, and logs for operators, where they cannot be had."""
        try:
            return file.read() if file.stored_at is None else file.checked(await self._fetch(file.stored_at))
        except FileNotFoundError as error:
            raise self._refused(file, "the store does not have it", error) from error
        except ValueError as error:
            raise self._refused(file, "what is kept is damaged", error) from error
        except (BaseError, OSError) as error:
            raise self._refused(file, "the store does not answer, or refuses us", error) from error

    async def _fetch(self, key: str) -> bytes:
        if self._store is None:
            raise FileNotFoundError("RESERVATION_API_S3 is not set")
        with tracing.call("s3", "get"):
            found = await obstore.get_async(self._store, key)
            return bytes(await found.bytes_async())

    @staticmethod
    def _refused(file: File, why: str, error: Exception) -> StoreAway:
        said = str(error).partition("\n\nDebug source:")[0]
        log.error("document_not_read", key=file.stored_at, why=why, said=said[:500])
        return StoreAway(f"the document {file.name} cannot be read now: {why}")
