"""Power caps on devices."""

import pytest

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.hardware.device import load_device
from cluster_sim.hardware.power_cap import capped
from cluster_sim.hardware.predictors.kinds.linear import LinearOptions
from cluster_sim.hardware.predictors.kinds.physical import PhysicalOptions
from cluster_sim.hardware.predictors.kinds.roofline import RooflinePredictor
from cluster_sim.hardware.predictors.pool_predictor import check_power_cap
from tests.hardware.replicas import hardware

H100 = load_device("h100-sxm")


def test_half_the_power_leaves_the_measured_share_of_the_clock() -> None:
    """At half the power arithmetic runs at 1 / 1.3 of its rate, at a quarter at 1 / 1.69; memory runs on."""
    device = capped(H100, H100.tdp_w / 2)
    assert device.flops["bf16"] == pytest.approx(H100.flops["bf16"] / 1.3)
    assert device.memory_bandwidth_bytes_per_s == H100.memory_bandwidth_bytes_per_s


def test_no_cap_and_a_loose_cap_change_nothing() -> None:
    """Without a cap, or with one above what the board draws, the device is as it was."""
    assert capped(H100, None) is H100
    assert capped(H100, H100.tdp_w) is H100


def test_prefill_suffers_and_decode_does_not() -> None:
    """At half the power a long prompt takes almost 1.3 times as long, a decode step of one sequence as long as ever."""
    free, tight = (RooflinePredictor(hardware(device=device)) for device in (H100, capped(H100, 350)))
    decode, prefill = BatchShape(1, 1000), BatchShape(prefills=[(8000, 0)], completed_prefills=1)
    assert tight.step_ns(decode) == free.step_ns(decode)
    assert 1.2 < tight.step_ns(prefill) / free.step_ns(prefill) <= 1.3


def test_a_cap_below_the_active_power_is_refused() -> None:
    """100 W is less than an H100 draws before it computes anything."""
    with pytest.raises(InputError, match="lets nothing run"):
        capped(H100, 100)


def test_measured_step_times_refuse_a_cap() -> None:
    """A linear predictor does not know what a cap makes of its times, the physical step model does."""
    options = LinearOptions(alpha_us=1000.0)
    with pytest.raises(
        InputError, match=r"predictor linear knows step times as measured.*use auto, physical or roofline"
    ):
        check_power_cap(options, 400)
    check_power_cap(options, None)
    check_power_cap(PhysicalOptions(), 400)
