"""Arrival processes against theory."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError
from scipy import integrate, stats

from cluster_sim.errors import InputError
from cluster_sim.workload.arrivals.arrival_process import Arrivals, build_arrivals
from cluster_sim.workload.arrivals.bounded_times import bounded_times
from cluster_sim.workload.sampling.random_streams import Stream

ADAPTER: TypeAdapter[Any] = TypeAdapter(Arrivals)


def times_s(count: int | None = None, duration_s: float | None = None, seed: int = 5, **config: Any) -> Any:
    process = build_arrivals(ADAPTER.validate_python(config), Stream(seed, "arrivals"), count)
    blocks = list(bounded_times(process, count, duration_s)())
    assert all(len(block) for block in blocks)
    times = np.concatenate(blocks) if blocks else np.empty(0, dtype=np.int64)
    assert (np.diff(times) >= 0).all()
    return times / 1e9


RENEWAL = {
    "poisson": ({"kind": "poisson", "request_rate": 20}, stats.expon(scale=0.05)),
    "gamma bursty": ({"kind": "gamma", "request_rate": 20, "burstiness": 0.3}, stats.gamma(0.3, scale=1 / 6)),
    "gamma even": ({"kind": "gamma", "request_rate": 20, "burstiness": 8}, stats.gamma(8, scale=1 / 160)),
    "weibull": (
        {"kind": "weibull", "request_rate": 20, "shape": 0.6},
        stats.weibull_min(0.6, scale=0.05 / math.gamma(1 + 1 / 0.6)),
    ),
}


@pytest.mark.parametrize("count", [50_000, pytest.param(1_000_000, marks=pytest.mark.acceptance)])
@pytest.mark.parametrize("name", RENEWAL)
def test_gaps_have_their_distribution(name: str, count: int) -> None:
    """Gaps match the closed form: KS at 1 %, mean within four standard errors, no correlation between neighbours.

    Times are whole ns, so gaps below 100 ns are compared by their number only: very bursty processes have many.
    """
    config, truth = RENEWAL[name]
    gaps = np.diff(times_s(count=count, **config), prepend=0.0)
    tiny = float(truth.cdf(1e-7))
    assert abs(np.count_nonzero(gaps < 1e-7) - tiny * count) < 4 * math.sqrt(tiny * count) + 1
    assert stats.kstest(gaps[gaps >= 1e-7], lambda x: (truth.cdf(x) - tiny) / (1 - tiny)).pvalue > 0.01
    assert abs(gaps.mean() - truth.mean()) < 4 * truth.std() / math.sqrt(count)
    assert abs(gaps.var() / truth.var() - 1) < 40 / math.sqrt(count)
    assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 4 / math.sqrt(count)


def test_constant_arrivals() -> None:
    """Request i arrives at (i + 1) / rate exactly, also far from the start."""
    times = times_s(count=10_000, kind="constant", request_rate=3)
    assert times[:3] == pytest.approx([1 / 3, 2 / 3, 1], abs=1e-9)
    assert times[-1] == pytest.approx(10_000 / 3, abs=1e-9)


def test_burstiness_means_what_it_means_in_vllm() -> None:
    """The CV of gamma gaps is burstiness ** -0.5; burstiness 1 is Poisson."""
    for burstiness in (0.25, 1.0, 4.0):
        gaps = np.diff(times_s(count=100_000, kind="gamma", request_rate=10, burstiness=burstiness))
        assert gaps.std() / gaps.mean() == pytest.approx(burstiness**-0.5, rel=0.03)
        if burstiness == 1.0:
            assert stats.kstest(gaps, stats.expon(scale=0.1).cdf).pvalue > 0.01


@pytest.mark.parametrize("strategy", ["linear", "exponential"])
def test_ramps_go_by_request_index(strategy: str) -> None:
    """As in ``vllm bench serve``, the mean gap before request i is 1 / rate(i / (n - 1))."""
    count = 40_000
    ramp = {"ramp_up_strategy": strategy, "ramp_up_start_rps": 2.0, "ramp_up_end_rps": 32.0}
    gaps = np.diff(times_s(count=count, kind="gamma", request_rate=1, burstiness=4, **ramp), prepend=0.0)
    share = np.arange(count) / (count - 1)
    rate = 2 + 30 * share if strategy == "linear" else 2 * 16**share
    for tenth in np.array_split(np.arange(count), 10):
        assert (gaps[tenth] * rate[tenth]).mean() == pytest.approx(1.0, abs=4 * 0.5 / math.sqrt(count / 10))


def test_rescaled_gaps_end_on_time() -> None:
    """With ``rescale`` the last of n requests arrives at n / rate, as vLLM makes it."""
    times = times_s(count=9_001, kind="gamma", request_rate=7, burstiness=0.5, rescale=True)
    assert times[-1] == pytest.approx(9_001 / 7, abs=1e-4)


def sine(t: Any) -> Any:
    return 40 * (1 + 0.8 * np.sin(2 * np.pi * (t + 30) / 100))


CHANGING: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "sinusoidal": (
        {"kind": "sinusoidal", "request_rate": 40, "amplitude": 0.8, "period_s": 100, "phase_s": 30},
        sine,
    ),
    "ramp": (
        {"kind": "ramp", "start_rate": 5, "end_rate": 65, "ramp_s": 600},
        lambda t: 5 + 60 * np.minimum(t / 600, 1),
    ),
    "spike": (
        {"kind": "spike", "request_rate": 10, "spike_rate": 100, "at_s": 50, "spike_s": 20, "every_s": 200},
        lambda t: np.where((t >= 50) & ((t - 50) % 200 < 20), 100, 10),
    ),
    "step": (
        {"kind": "step", "request_rate": 20,
         "steps": [{"at_s": 300, "request_rate": 60}, {"at_s": 700, "request_rate": 5}]},
        lambda t: np.where(t < 300, 20, np.where(t < 700, 60, 5)),
    ),
}  # fmt: skip


def check_rate(times: Any, rate: Callable[[Any], Any], duration_s: float) -> None:
    edges = np.linspace(0, duration_s, 11)
    counts = np.histogram(times, edges)[0]
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        grid = np.linspace(low, high, 20_001)
        expected = float(integrate.trapezoid(rate(grid), grid))
        assert abs(count - expected) < 4 * math.sqrt(expected) + 1


@pytest.mark.parametrize("duration_s", [1000.0, pytest.param(25_000.0, marks=pytest.mark.acceptance)])
@pytest.mark.parametrize("name", CHANGING)
def test_changing_rates_match_their_integral(name: str, duration_s: float) -> None:
    """In every tenth of the run the count matches the integrated rate within four standard deviations, and the times
    rescaled by the integral are uniform (KS at 1 %): the rate is right everywhere, not only on average.
    """
    config, rate = CHANGING[name]
    times = times_s(duration_s=duration_s, **config)
    check_rate(times, rate, duration_s)
    grid = np.linspace(0, duration_s, 2_000_001)
    mass = integrate.cumulative_trapezoid(rate(grid), grid, initial=0)
    assert stats.kstest(np.interp(times, grid, mass) / mass[-1], "uniform").pvalue > 0.01


def test_every_tenth_of_a_period_matches() -> None:
    """Folded over many periods, each tenth of a sinusoidal period holds its integrated share."""
    times = times_s(duration_s=10_000, **CHANGING["sinusoidal"][0])
    counts = np.histogram(times % 100, np.linspace(0, 100, 11))[0]
    for tenth, count in enumerate(counts):
        expected = 100 * integrate.quad(sine, tenth * 10, tenth * 10 + 10)[0]
        assert abs(count - expected) < 4 * math.sqrt(expected)


def test_piecewise_rates_from_a_file(tmp_path: Path) -> None:
    """Rates hold until the next row, are scaled, repeat, and are 0 before the first row."""
    path = tmp_path / "rates.csv"
    path.write_text("start_s,request_rate\n10,30\n60,5\n80,0\n")
    config = {"kind": "piecewise", "path": str(path), "scale": 2.0, "repeat_s": 100}

    def rate(t: Any) -> Any:
        t = t % 100
        return 2 * np.where(t < 10, 0, np.where(t < 60, 30, np.where(t < 80, 5, 0)))

    check_rate(times_s(duration_s=1000, **config), rate, 1000)
    ended = times_s(count=10_000_000, kind="piecewise", path=str(path))
    assert 60 < ended[-1] < 80, "a rate of 0 for ever ends the process"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("start_s,request_rate\n0,1\n0,2\n", "does not increase"),
        ("start_s,request_rate\n0,0\n", "every rate is 0"),
        ("start_s,rate\n0,1\n", "no column 'request_rate'"),
        ("start_s,request_rate\n0,nan\n", "line 2, column 'request_rate': 'nan'"),
    ],
)
def test_wrong_rate_files_are_refused(tmp_path: Path, content: str, message: str) -> None:
    """A wrong file of rates is refused with its place."""
    path = tmp_path / "rates.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        times_s(count=1, kind="piecewise", path=str(path))


@pytest.mark.parametrize("order", ["cyclic", "random"])
def test_mmpp_has_the_mean_rate_and_is_bursty(order: str) -> None:
    """The mean rate is the stay-weighted mean of the states; counts are far more dispersed than Poisson's."""
    states = [{"request_rate": 5, "mean_stay_s": 10}, {"request_rate": 50, "mean_stay_s": 5}]
    times = times_s(duration_s=40_000, kind="mmpp", states=states, next_state=order)
    assert len(times) / 40_000 == pytest.approx(20, rel=0.05)
    counts = np.bincount((times // 5).astype(int))
    assert counts.var() / counts.mean() > 10


def test_blocks_do_not_change_times() -> None:
    """The same process cut off earlier gives a prefix of the same times."""
    for config, _ in (*RENEWAL.values(), *CHANGING.values()):
        long, short = times_s(count=9_000, **config), times_s(count=300, **config)
        assert np.array_equal(long[:300], short)


def test_the_end_is_exclusive() -> None:
    """No arrival at or after the duration, and the count is kept."""
    times = times_s(duration_s=2, kind="constant", request_rate=1)
    assert times.tolist() == [1.0]
    assert len(times_s(count=10, duration_s=1e6, kind="poisson", request_rate=1)) == 10


def test_hopelessly_slow_arrivals_are_refused() -> None:
    """Arrivals beyond two simulated years cannot be run; the message says so."""
    for kind in ("poisson", "constant"):
        with pytest.raises(InputError, match="two simulated years"):
            times_s(count=10, kind=kind, request_rate=1e-12)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "poisson", "request_rate": 0}, "greater than 0"),
        ({"kind": "poison", "request_rate": 1}, "does not match any of the expected tags"),
        ({"kind": "gamma", "request_rate": 1, "ramp_up_strategy": "linear"}, "go together"),
        ({"kind": "step", "request_rate": 1, "steps": [{"at_s": 5, "request_rate": 1}] * 2}, "increasing"),
        ({"kind": "mmpp", "states": [{"request_rate": 0, "mean_stay_s": 1}] * 2}, "positive request_rate"),
        (
            {"kind": "spike", "request_rate": 1, "spike_rate": 2, "at_s": 0, "spike_s": 9, "every_s": 5},
            "at least spike",
        ),
        ({"kind": "ramp", "start_rate": 0, "end_rate": 0, "ramp_s": 1}, "must be positive"),
    ],
)
def test_wrong_processes_are_refused(config: dict[str, Any], message: str) -> None:
    """Every inconsistent arrival process is refused with a reason."""
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python(config)


def test_ramps_need_a_count() -> None:
    """What goes by request index cannot be built without the number of requests."""
    for extra in ({"rescale": True}, {"ramp_up_strategy": "linear", "ramp_up_start_rps": 1, "ramp_up_end_rps": 2}):
        with pytest.raises(InputError, match=r"needs workload\.count"):
            times_s(duration_s=1, kind="gamma", request_rate=1, **extra)
