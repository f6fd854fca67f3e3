"""Settings that every process has. A service's own have its prefix and stand in its service.py."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsError(Exception):
    """The environment does not say what a process needs; the message names every mistake at once."""


class RuntimeSettings(BaseSettings):
    """From the environment, without prefix.

    `database_url`: `postgresql://user:password@host:port/name`. `amqp_url`: needed where `queue_enabled`.
    `queue_concurrency`: parallel effects per subscription and process. `periodic_work`: whether a service's clockworks
    run in this process beside everything else, alone (`only`), or in another process (`elsewhere`).
    `synthetic_organization`: the id of an organization without guests, for synthetic reservations; None: none.
    """

    model_config = SettingsConfigDict(extra="ignore")

    database_url: SecretStr
    amqp_url: SecretStr | None = None
    rabbitmq_management_url: SecretStr | None = None
    queue_enabled: bool = True
    periodic_work: Literal["here", "only", "elsewhere"] = "here"
    synthetic_organization: Annotated[int, Field(ge=1)] | None = None
    queue_concurrency: Annotated[int, Field(ge=1, le=1000)] = 5
    database_pool: Annotated[int, Field(ge=1, le=100)] = 10
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    drain_seconds: Annotated[float, Field(gt=0)] = 25.0
    otel_exporter_otlp_endpoint: str | None = None
    request_budget_seconds: Annotated[float, Field(gt=0)] = 30.0

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
