"""HTTP client for providers: hard time-outs, metrics, what a failed transport proves. It maps no answer by itself."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

from llegada.messaging import tracing
from llegada.messaging.failures import OutcomeUnknown, Transient
from llegada.runtime.metrics import PROVIDER_SECONDS

_TIMEOUT = httpx.Timeout(connect=3.0, read=15.0, write=5.0, pool=5.0)
_LIMITS = httpx.Limits(max_connections=50, max_keepalive_connections=20, keepalive_expiry=30.0)
_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_NEVER_CONNECTED = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)


class _Transport(AiohttpTransport):
    """httpx over aiohttp: a quarter of the CPU of httpx's own transport (docs/decisions/0006).

    The adapter calls every lost connection a ConnectTimeout. What was lost after connecting may have been worked, so
    here only those errors keep that name which prove that nothing was sent.
    """

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except httpx.TransportError as error:
            if isinstance(error, _NOTHING_SENT) and not isinstance(error.__cause__, _NEVER_CONNECTED):
                raise httpx.RemoteProtocolError(str(error), request=request) from error.__cause__
            raise
        except aiohttp.ClientError as error:
            raise httpx.RemoteProtocolError(str(error), request=request) from error


class ProviderClient:
    """`transport` is the seam for tests: httpx.MockTransport instead of the network."""

    def __init__(self, provider: str, base_url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.provider = provider
        self._client = httpx.AsyncClient(
            base_url=base_url,
            timeout=_TIMEOUT,
            transport=transport or _Transport(limits=_LIMITS, trust_env=False),
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def request(
        self,
        operation: str,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        json: Any = None,
        form: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """The provider's answer, whatever its status. The body is JSON, or a form.

        Raises Transient where nothing was sent or the request only reads (GET), OutcomeUnknown where the request may
        have been worked: a time-out or a cut after it was sent.
        """
        started, outcome = time.monotonic(), "failed"
        try:
            with tracing.call(self.provider, operation):
                response = await self._client.request(method, path, headers=dict(headers), json=json, data=form)
                tracing.note(status=response.status_code)
            outcome = f"{response.status_code // 100}xx"
        except _NOTHING_SENT as error:
            raise Transient(f"{self.provider} cannot be reached", code=type(error).__name__) from error
        except httpx.TransportError as error:
            name = type(error).__name__
            if method == "GET":
                raise Transient(f"{self.provider} did not answer", code=name) from error
            raise OutcomeUnknown(f"{self.provider} did not answer; what it did is not known", code=name) from error
        finally:
            labels = {"provider": self.provider, "operation": operation, "outcome": outcome}
            PROVIDER_SECONDS.labels(**labels).observe(time.monotonic() - started)
        return response


def retry_after(response: httpx.Response, default: timedelta) -> timedelta:
    """RFC 9110 §10.2.3: seconds or an HTTP date; `default` where the header is missing or senseless."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdigit():
        return timedelta(seconds=int(value))
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return default
    return max(at.astimezone(UTC) - datetime.now(UTC), timedelta())
