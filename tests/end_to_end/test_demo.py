"""What `make run` shows: a whole stay, through all processes."""

import pytest

from llegada_dev.demo import whole_stay

from .conftest import Stage

pytestmark = pytest.mark.more


def test_the_demo_of_make_run_is_a_whole_stay(stage: Stage) -> None:
    assert whole_stay(stage.system().system)
