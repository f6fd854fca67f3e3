"""Documents in an S3-compatible store, on a real server: written once, read by who may, and what goes wrong said."""

import inspect
from collections.abc import Iterator
from datetime import timedelta

import pytest
from pydantic import ValidationError

import backoffice_worker.archive
import notification_worker.archive
import reservation_api.documents.archive
from backoffice_worker.service import Settings
from llegada.events.file import File
from llegada.messaging.failures import Credentials, Failure, Permanent, ProviderDown, TryAgain, decide
from llegada.messaging.retry import RetryPolicy
from llegada_dev.objects import ADMIN, READER, WRITER, ObjectStore
from llegada_dev.ports import Ports, free_base
from reservation_api.problems import StoreAway

API, MAIL, OFFICE = reservation_api.documents.archive, notification_worker.archive, backoffice_worker.archive
PDF = File.of("MR-202611-007.pdf", b"%PDF-1.7 statement", 3)
OTHER = File.of("MR-202611-007.pdf", b"%PDF-1.7 by a newer typesetter", 3)
FOLDER = "1/statement/5/1"


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    store = ObjectStore(tmp_path_factory.mktemp("objects"), Ports(free_base()).objects)
    store.start()
    yield store
    store.kill()


def writer(objects: ObjectStore, identity: str = WRITER, **changes: str) -> OFFICE.Archive:
    return OFFICE.Archive(OFFICE.Bucket.model_validate_json(objects.settings(identity, **changes)))


def api(objects: ObjectStore, identity: str = READER, **changes: str) -> API.Archive:
    return API.Archive(API.Bucket.model_validate_json(objects.settings(identity, **changes)))


def mail(objects: ObjectStore, identity: str = READER, **changes: str) -> MAIL.Archive:
    return MAIL.Archive(MAIL.Bucket.model_validate_json(objects.settings(identity, **changes)))


def test_all_three_services_mean_the_same_by_a_bucket() -> None:
    sources = {inspect.getsource(room.Bucket) for room in (API, MAIL, OFFICE)}
    assert len(sources) == 1


async def test_a_document_that_is_written_again_is_one_object_and_a_different_one_replaces_nothing(
    objects: ObjectStore,
) -> None:
    kept = [await writer(objects).keep(file, FOLDER) for file in (PDF, PDF, OTHER)]
    assert {file.content for file in kept} == {""}, "the event carries no bytes"
    assert kept[0] == kept[1]
    assert sorted(objects.keys(FOLDER)) == sorted({f"{PDF.sha256}.pdf", f"{OTHER.sha256}.pdf"})
    for file, before in zip(kept, (PDF, PDF, OTHER), strict=True):
        assert await api(objects).read(file) == before.read()
        assert await mail(objects).read(file) == before.read()


async def test_what_lies_in_the_database_or_the_event_is_read_as_before(objects: ObjectStore) -> None:
    for archive in (API.Archive(), MAIL.Archive(), api(objects), mail(objects)):
        assert await archive.read(PDF) == PDF.read()


@pytest.mark.parametrize(
    ("identity", "changes", "failure", "said"),
    [
        (WRITER, {"secret": "wrong"}, Credentials, "SignatureDoesNotMatch"),
        ("nobody", {}, Credentials, "InvalidAccessKeyId"),
        (READER, {}, Credentials, "AccessDenied"),
        (ADMIN, {"bucket": "never-made"}, Permanent, "has no bucket never-made"),
    ],
)
async def test_a_refusal_says_what_to_mend_and_is_not_tried_again(
    objects: ObjectStore, identity: str, changes: dict[str, str], failure: type[Failure], said: str
) -> None:
    with pytest.raises(failure, match=said) as refused:
        await writer(objects, identity, **changes).keep(PDF, FOLDER)
    assert "BACKOFFICE_WORKER_S3" in (refused.value.advice or "")
    assert "secret-key" not in str(refused.value)


async def test_a_reader_that_is_refused_or_misses_the_object_says_so(objects: ObjectStore) -> None:
    kept = await writer(objects).keep(PDF, FOLDER)
    missing = PDF.moved_to(f"{FOLDER}/never-written.pdf")
    with pytest.raises(Credentials) as refused:
        await mail(objects, secret="wrong").read(kept)
    assert "NOTIFICATION_WORKER_S3" in (refused.value.advice or "")
    with pytest.raises(Credentials, match="NOTIFICATION_WORKER_S3 is not set"):
        await MAIL.Archive().read(kept)
    with pytest.raises(Permanent, match="does not have"):
        await mail(objects).read(missing)
    with pytest.raises(StoreAway, match="does not have"):
        await api(objects).read(missing)
    with pytest.raises(StoreAway, match="refuses us"):
        await api(objects, secret="wrong").read(kept)
    with pytest.raises(StoreAway, match="does not have"):
        await API.Archive().read(kept)


async def test_bytes_with_another_checksum_reach_nobody(objects: ObjectStore) -> None:
    kept = await writer(objects).keep(File.of("a.pdf", b"%PDF-1.7 whole", 1), "1/statement/6/1")
    objects.spoil(str(kept.stored_at), b"%PDF-1.7 hole")
    with pytest.raises(StoreAway, match="damaged"):
        await api(objects).read(kept)
    with pytest.raises(Permanent, match="checksum"):
        await mail(objects).read(kept)


async def test_a_store_that_is_away_costs_no_attempt_and_has_everything_when_it_is_back(objects: ObjectStore) -> None:
    kept = await writer(objects).keep(PDF, FOLDER)
    objects.kill()
    for attempt in (writer(objects).keep(OTHER, "1/statement/7/1"), mail(objects).read(kept)):
        with pytest.raises(ProviderDown) as away:
            await attempt
        decision = decide(away.value, 1, timedelta(minutes=5), RetryPolicy())
        assert isinstance(decision, TryAgain)
        assert not decision.counts
    with pytest.raises(StoreAway, match="does not answer"):
        await api(objects).read(kept)
    objects.start()
    assert await api(objects).read(kept) == PDF.read()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ('{"bucket": "documents", "access_key_id": "a"}', "belong together"),
        ('{"bucket": "Documents"}', "bucket"),
        ('{"bucket": "documents", "endpoint": "store.test"}', "endpoint"),
        ('{"bucket": "documents", "user": "a"}', "user"),
    ],
)
def test_wrong_settings_stop_the_start(given: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKOFFICE_WORKER_S3", given)
    with pytest.raises(ValidationError, match=said):
        Settings()
