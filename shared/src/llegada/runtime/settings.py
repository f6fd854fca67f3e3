"""Settings that every process has. A service's own have its prefix and stand in its service.py."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """The environment does not say what a process needs; the message names every mistake at once."""


class RuntimeSettings(BaseSettings):
    """From the environment, without prefix. Descriptions stand in docs/operations/settings.md (`make schemas`)."""

    model_config = SettingsConfigDict(extra="ignore")

    database_url: SecretStr = Field(
        description="`postgresql://user:password@host:port/name`; no pooler in transaction mode (the relay holds a"
        " session lock)"
    )
    amqp_url: SecretStr | None = Field(
        None, description="`amqp://user:password@host:port/vhost`; needed where `QUEUE_ENABLED` is true"
    )
    rabbitmq_management_url: SecretStr | None = Field(
        None, description="the API shows by it what stands in the queues; `llegada topology check` needs it"
    )
    queue_enabled: bool = Field(True, description="`false`: all handlers inside the API's request")
    periodic_work: Literal["here", "only", "elsewhere"] = Field(
        "here",
        description="`here`: clockworks (the evening's invitations, the monthly statements) run beside everything"
        " else; `only`: this process does nothing else; `elsewhere`: another process has them. Any number of replicas"
        " may run them",
    )
    synthetic_organization: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="the id of an organization without guests, the same for all processes: every minute a synthetic"
        " reservation of it goes through the whole system. Without it there is none",
    )
    queue_concurrency: Annotated[int, Field(ge=1, le=1000)] = Field(
        5, description="parallel effects per subscription and process"
    )
    database_pool: Annotated[int, Field(ge=1, le=100)] = Field(10, description="connections per service and role")
    host: str = Field("127.0.0.1", description="where the process listens (the image: 0.0.0.0)")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        8000, description="the API, or a worker's `/health/live`, `/health/ready`, `/metrics`"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="one JSON object a line; personal data and secrets are masked"
    )
    drain_seconds: Annotated[float, Field(gt=0)] = Field(
        25.0, description="how long SIGTERM waits for what was begun; keep the grace period longer"
    )
    otel_exporter_otlp_endpoint: str | None = Field(
        None,
        description="a collector (OTLP over HTTP, `http://…:4318`): every process sends traces to it; without it, none"
        " is made",
    )
    request_budget_seconds: Annotated[float, Field(gt=0)] = Field(
        30.0, description="without the queue: how long a request works its own chain"
    )

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: str) -> str:
        return value.upper()


def explain(service: str, error: ValidationError, prefix: str = "") -> SettingsError:
    """All mistakes in one message, by the names that the environment uses; values are not shown."""
    lines = [
        f"  {prefix}{'_'.join(str(part) for part in mistake['loc']).upper()}: {mistake['msg']}"
        for mistake in error.errors(include_input=False, include_url=False)
    ]
    return SettingsError("\n".join([f"{service} cannot start, its settings are wrong:", *lines]))
