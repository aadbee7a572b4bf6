"""Energy: power by hand, caps, sums that do not depend on grouping, and Splitwise's measured figures."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.energy import EnergyModel
from cluster_sim.hardware.model import load_model
from tests.hardware.replicas import hardware


def test_power_by_hand() -> None:
    """A step that moves half the bandwidth and hardly computes: 0.29 + 0.63 / 2 of TDP, on each of two GPUs."""
    model, device = load_model("llama-2-70b"), load_device("a100-80gb")
    energy = EnergyModel(hardware(model, device, 2))
    moved = (68.977e9 - 32000 * 8192) * 2 / 2
    duration = round(moved / (device.memory_bandwidth_bytes_per_s / 2) * 1e9)
    assert energy.step_power_w(BatchShape(1, 0), duration) == pytest.approx(2 * 400 * (0.29 + 0.315), rel=0.02)
    assert energy.idle_power_w == pytest.approx(2 * 400 * 0.15)
    assert energy.idle_energy_uj(10**9) == 120_000_000


def test_measured_token_phase() -> None:
    """Splitwise measured 0.73, 0.59 and 0.43 of TDP for one sequence of Llama-2-70B on 2, 4 and 8 A100."""
    for degree, milliseconds, ratio in ((2, 54.9, 0.73), (4, 45.0, 0.59), (8, 44.9, 0.43)):
        energy = EnergyModel(hardware("llama-2-70b", "a100-80gb", degree))
        power = energy.step_power_w(BatchShape(1, 576), round(milliseconds * 1e6))
        assert power / (400 * degree) == pytest.approx(ratio, abs=0.07)


def test_never_above_the_cap() -> None:
    """A dense prefill asks for more than TDP and gets TDP, or the cap that is set."""
    shape = BatchShape(0, 0, [(8192, 0)], 1)
    assert EnergyModel(hardware()).step_power_w(shape, 150_000_000) == pytest.approx(700)
    assert EnergyModel(hardware(), power_cap_w=450).step_power_w(shape, 150_000_000) == pytest.approx(450)


@settings(max_examples=60, deadline=None)
@given(
    decodes=st.integers(1, 512),
    kv=st.integers(0, 10**6),
    durations=st.lists(st.integers(10**5, 10**8), min_size=1, max_size=50),
)
def test_runs_equal_steps(decodes: int, kv: int, durations: list[int]) -> None:
    """A run's energy is that of its steps, to the microjoule."""
    energy = EnergyModel(hardware("mixtral-8x7b", "h100-sxm", 2))
    run = energy.decode_run_energy_uj(decodes, kv, np.array(durations, dtype=np.int64))
    single = [energy.step_energy_uj(BatchShape(decodes, kv + i * decodes), ns) for i, ns in enumerate(durations)]
    assert run.tolist() == single


def test_run_energy_is_the_sum_of_its_steps() -> None:
    """A run's energy from its counters equals that of its steps and idle time, where no cap binds."""
    energy = EnergyModel(hardware())
    shapes = [BatchShape(4, 4000 + 4 * i) for i in range(50)] + [BatchShape(0, 0, [(100, 0)], 1)]
    durations = [9_000_000] * len(shapes)
    steps = sum(energy.step_energy_uj(shape, ns) for shape, ns in zip(shapes, durations, strict=True))
    idle = energy.idle_energy_uj(10**9)
    busy = sum(durations)
    run = energy.run_energy_j(
        busy + 10**9,
        [busy],
        [0],
        len(shapes),
        50 * 4 + 100,
        sum(shape.decode_kv_tokens for shape in shapes),
        100 * 101 // 2,
    )
    assert run == pytest.approx((steps + idle) * 1e-6, rel=0.005)
