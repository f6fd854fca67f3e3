"""Generated deployment files say what the services say."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from llegada.messaging.envelope import Lane
from llegada.messaging.topology import queue_name
from llegada.runtime.discovery import installed
from llegada.runtime.settings import RuntimeSettings
from llegada_dev import deploy, settings_table

GENERATED = {
    deploy.COMPOSE_SERVICES: deploy.compose_services,
    settings_table.PAGE: settings_table.page,
}


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.name)
def test_generated_files_are_as_make_schemas_writes_them(path: Path) -> None:
    assert path.read_text() == GENERATED[path](), "run `make schemas`"


def test_every_service_says_how_it_is_deployed() -> None:
    assert set(deploy.services()) == set(installed())


def test_what_scales_a_service_is_a_queue_of_its_own() -> None:
    for name, own in deploy.services().items():
        queues = {queue_name(name, s.action, Lane.INTERACTIVE) for s in installed()[name].subscriptions}
        assert own.get("scalingQueue") in {None, *queues}


def secret_settings(own: dict[str, Any]) -> list[str]:
    return [*own.get("secretSettings", []), *own.get("optionalSecretSettings", [])]


def test_secret_settings_are_settings_of_the_service() -> None:
    for name, own in deploy.services().items():
        assert set(secret_settings(own)) <= set(settings_table.of_service(name))


def test_no_deployment_file_holds_a_secret() -> None:
    """A variable whose type is secret has no value anywhere: it comes by reference."""
    for name, own in yaml.safe_load(deploy.compose_services())["services"].items():
        for secret in secret_settings(deploy.services()[name]):
            assert own["environment"][secret] is None


def test_every_setting_of_a_process_reaches_its_container() -> None:
    """What stands in deploy/.env is handed on by name, or filled in."""
    wanted = set(settings_table.variables(RuntimeSettings)) - deploy.IMAGES_OWN
    for name, own in yaml.safe_load(deploy.compose_services())["services"].items():
        assert wanted <= set(own["environment"]), name
        assert not deploy.IMAGES_OWN & set(own["environment"])
