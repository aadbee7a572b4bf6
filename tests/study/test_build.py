"""What is checked when the processes of a study are built."""

import pytest

from cluster_sim.config.errors import InputError
from cluster_sim.hardware.predictor import BatchShape, Int64Array, Predictor
from cluster_sim.study.build import leaf_links
from tests.engine.small_fleet import SmallFleet, prepare


class Instantaneous(Predictor):
    """Breaks the contract: steps that take no time."""

    def step_ns(self, shape: BatchShape, stage: int = 0) -> int:  # noqa: ARG002
        return 0

    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> Int64Array:
        raise NotImplementedError

    def floor_ns(self, stage: int = 0) -> int:  # noqa: ARG002
        return 0


def test_a_cycle_without_delay_is_refused() -> None:
    """Links of 0 ms are fine as long as a step takes time, and a step may take none where a link does."""
    still, linked = prepare(SmallFleet()).plan, prepare(SmallFleet(return_ms=1e-6)).plan
    assert len(leaf_links(linked, [Instantaneous()], [0])) == 1
    with pytest.raises(InputError, match=r"'main': links of 0 ms .* cycle without delay"):
        leaf_links(still, [Instantaneous()], [0])
