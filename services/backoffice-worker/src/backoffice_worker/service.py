"""The back office's process: parts, queues, and the deadlines' clock."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from backoffice_worker.archive import Archive, Bucket
from backoffice_worker.handlers import BackOffice
from backoffice_worker.rendering import Typesetter
from backoffice_worker.store import Store
from llegada.messaging import outbox
from llegada.messaging.envelope import Lane, first
from llegada.messaging.subscription import Subscription
from llegada.runtime.service import Periodic, Resources, Service

NAME = "backoffice-worker"


class Settings(BaseSettings):
    """`parallel_documents`: typesetting processes at a time, 0.5 GB each at most. `s3`: where documents are kept; None:
    they travel in their events, into the API's database.
    """

    model_config = SettingsConfigDict(env_prefix="BACKOFFICE_WORKER_")

    parallel_documents: Annotated[int, Field(ge=1, le=64)] = os.cpu_count() or 1
    s3: Bucket | None = None


@asynccontextmanager
async def build(settings: Settings, resources: Resources) -> AsyncGenerator[BackOffice]:
    archive = None if settings.s3 is None else Archive(settings.s3)
    yield BackOffice(Store(resources.database), Typesetter(settings.parallel_documents), archive)


async def _remind(_settings: Settings, resources: Resources, back_office: BackOffice) -> None:
    """Mark and tell in one transaction: a crash leaves neither."""
    async with resources.database.transaction() as tx:
        made = await back_office.remind(tx, datetime.now(UTC))
        messages = [
            outbox.event_message(
                task,
                first(task, source=NAME, correlation_id=f"deadline-{task.key}", lane=Lane.BULK, traceparent=None),
            )
            for task in made
        ]
        await outbox.add(tx, messages)


service = Service(
    NAME,
    Settings,
    build,
    subscriptions=(
        Subscription("remember-organization", BackOffice.remember_organization),
        Subscription("remember-rules", BackOffice.remember_rules),
        Subscription("write-statement", BackOffice.write_statement),
        Subscription("write-document", BackOffice.write_document),
        Subscription("follow-booking", BackOffice.follow_booking),
        Subscription("note-failure", BackOffice.note_failure),
        Subscription("note-filing", BackOffice.note_filing),
        Subscription("begin-lifecycle", BackOffice.begin),
        Subscription("change-contract", BackOffice.change_contract),
        Subscription("offboard", BackOffice.offboard),
        Subscription("record-step", BackOffice.record_step),
        Subscription("note-task", BackOffice.note_task),
    ),
    periodic=(Periodic("deadlines", 60, _remind),),
)
