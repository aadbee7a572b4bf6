"""Describing, converting and fitting workloads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter
from typer.testing import CliRunner

from cluster_sim.cli import app
from cluster_sim.config.errors import InputError
from cluster_sim.config.workload import WorkloadConfig
from cluster_sim.workload.columns import Columns
from cluster_sim.workload.drawing import draw_summary, spark
from cluster_sim.workload.fitting import fit_arrivals, fit_workload
from cluster_sim.workload.parquet_writer import write_trace
from cluster_sim.workload.request import Attributes
from cluster_sim.workload.summary import LengthStatistics, RateOverTime, WorkloadSummary, summarise

LENGTHS = {
    "prompt": {"kind": "lognormal", "mean": 800, "std": 600, "max": 8000},
    "output": {"kind": "gamma", "shape": 2, "scale": 100},
    "correlation": 0.4,
}


def synthetic(**more: Any) -> dict[str, Any]:
    arrivals = {"kind": "poisson", "request_rate": 10}
    return {"kind": "synthetic", "arrivals": arrivals, "lengths": LENGTHS, "count": 20_000} | more


def test_moments_are_exact_and_quantiles_within_one_percent() -> None:
    """However lengths are split into blocks."""
    values = np.random.default_rng(1).lognormal(6, 1.2, 50_000).astype(np.int64) + 1
    one = LengthStatistics()
    for part in np.array_split(values, 7):
        one.add(part)
    assert (one.count, one.total, one.least, one.most) == (50_000, values.sum(), values.min(), values.max())
    assert one.mean == pytest.approx(values.mean())
    assert one.std == pytest.approx(values.std())
    for share in (0.01, 0.25, 0.5, 0.9, 0.99, 0.999):
        assert one.quantile(share) == pytest.approx(np.quantile(values, share), rel=0.01)
    assert sum(count for _, _, count in one.histogram()) == 50_000


def test_rate_bins_grow_with_the_trace() -> None:
    """However long the trace, every arrival is counted, and the dispersion of Poisson counts is 1."""
    rate = RateOverTime()
    times = np.cumsum(np.random.default_rng(2).exponential(0.05, 100_000) * 1e9).astype(np.int64)
    for part in np.array_split(times, 50):
        rate.add(part)
    end_ns = int(times[-1])
    series = rate.series(end_ns, 40)
    assert len(series) <= 40
    width = series[1][0]
    total = sum(one * min(width, end_ns / 1e9 - start) for start, one in series)
    assert total == pytest.approx(100_000, abs=1)
    assert rate.dispersion(end_ns, 10.0) == pytest.approx(1.0, abs=0.2)
    assert rate.dispersion(end_ns, 1e-3) is None


def test_summary_of_prefixes_and_sessions() -> None:
    """Shared tokens count as long as the chain is unbroken; turns are counted by session."""
    attributes = [
        Attributes(session_id=1, tenant="a", segments=((1, 10), (2, 5))),
        Attributes(session_id=1, turn=1, tenant="a", segments=((1, 10), (2, 5), (3, 5))),
        Attributes(session_id=2, segments=((9, 10), (2, 10))),
    ]
    tokens = np.array([15, 20, 20])
    summary = summarise(iter([Columns(np.array([0, 10**9, 3 * 10**9]), tokens, tokens, attributes)]))
    figures = summary.as_dict()
    assert summary.shared_prompt_tokens == 15
    assert figures["sessions"] == 2
    assert figures["turns_per_session"] == 1.5
    assert figures["tenants"] == {"a": 2}
    assert figures["request_rate"] == pytest.approx(2 / 3)
    text = "\n".join(draw_summary(summary))
    assert "would find 27.3% of all prompt tokens" in text
    assert "sessions: 2, 1.50 turns each" in text


def test_a_single_request_can_be_described() -> None:
    """Figures that need two requests are left out."""
    one = np.array([5])
    summary = WorkloadSummary()
    summary.add(Columns(one, one, one))
    assert summary.request_rate is None
    assert summary.gap_cv is None
    assert list(draw_summary(summary))
    assert spark([0.0, 0.0]) == "  "


def test_converted_traces_replay_equally(tmp_path: Path, rows: Callable[..., Any]) -> None:
    """Times, lengths and every attribute survive writing and reading; plain workloads stay plain."""
    traits = {
        "tenant": "t", "priority": -3, "deadline_s": 2, "lora_pool": 3, "length_hint_cv": 0.2, "slo_class": "gold",
        "prefix": {"levels": [{"count": 3, "tokens": 40}]}, "reasoning": {"ratio": {"kind": "fixed", "value": 0.5}},
    }  # fmt: skip
    for section in (synthetic(count=3000), synthetic(count=3000, traits=traits)):
        block = rows(section)
        path = tmp_path / "t.parquet"
        assert write_trace(iter([block]), path, with_attributes=block.attributes is not None) == 3000
        again = rows({"kind": "trace", "path": str(path), "strict": True})
        for name in ("arrival_ns", "prompt_tokens", "output_tokens"):
            assert np.array_equal(getattr(block, name), getattr(again, name))
        assert block.attributes == again.attributes
    assert [file.name for file in tmp_path.iterdir()] == ["t.parquet"]


def test_a_failed_conversion_leaves_nothing(tmp_path: Path) -> None:
    """When a source breaks half-way, neither the file nor its partial name remains."""

    def broken() -> Any:
        yield Columns(np.array([0]), np.array([1]), np.array([1]))
        raise InputError("broken")

    with pytest.raises(InputError, match="broken"):
        write_trace(broken(), tmp_path / "t.parquet", with_attributes=False)
    with pytest.raises(InputError, match="cannot be written"):
        write_trace(iter([]), tmp_path / "nowhere" / "t.parquet", with_attributes=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arrivals",
    [
        {"kind": "poisson", "request_rate": 10},
        {"kind": "gamma", "request_rate": 10, "burstiness": 0.3},
        {"kind": "weibull", "request_rate": 10, "shape": 0.5},
        {"kind": "gamma", "request_rate": 10, "burstiness": 20},
    ],
)
def test_fitted_arrivals_are_those_drawn(rows: Callable[..., Any], arrivals: dict[str, Any]) -> None:
    """The family, the rate and the burstiness of a generated trace are found again."""
    times = rows(synthetic(arrivals=arrivals)).arrival_ns
    found = fit_arrivals(times, times[-1] / 1e9)
    assert found["kind"] == arrivals["kind"]
    for name in arrivals.keys() - {"kind"}:
        assert found[name] == pytest.approx(arrivals[name], rel=0.06)


@pytest.mark.parametrize("model", ["empirical", "lognormal"])
def test_a_fit_generates_the_same_figures(rows: Callable[..., Any], model: Any) -> None:
    """A workload drawn from the fit has the trace's rate, mean lengths, quantiles and rank correlation."""
    lengths = LENGTHS if model == "empirical" else {
        "prompt": {"kind": "lognormal", "mean": 800, "std": 600},
        "output": {"kind": "lognormal", "mean": 200, "std": 100},
    }  # fmt: skip
    parts = [
        {"duration_s": 600, "workload": synthetic(lengths=lengths)},
        {"duration_s": 600, "workload": synthetic(arrivals={"kind": "poisson", "request_rate": 30}, lengths=lengths)},
    ]
    one = rows({"kind": "phases", "phases": parts})
    section = fit_workload(one, 300.0, model)
    assert [phase["workload"]["arrivals"]["kind"] for phase in section["phases"]] == ["poisson"] * 4
    two = rows(yaml.safe_load(yaml.safe_dump(section)), seed=77)
    assert len(two) == pytest.approx(len(one), rel=0.03)
    for name in ("prompt_tokens", "output_tokens"):
        first, second = getattr(one, name), getattr(two, name)
        assert second.mean() == pytest.approx(first.mean(), rel=0.03)
        for share in (0.1, 0.5, 0.9):
            assert np.quantile(second, share) == pytest.approx(np.quantile(first, share), rel=0.05)
    ranks = [np.corrcoef(np.argsort(np.argsort(part.prompt_tokens)), np.argsort(np.argsort(part.output_tokens)))[0, 1]
             for part in (one, two)]  # fmt: skip
    assert ranks[0] == pytest.approx(ranks[1], abs=0.04)
    in_first = [np.count_nonzero(part.arrival_ns < 600e9) / len(part) for part in (one, two)]
    assert in_first[0] == pytest.approx(in_first[1], abs=0.02)


def test_short_traces_make_one_phase_and_shorter_ones_none(rows: Callable[..., Any]) -> None:
    """Windows with few requests are joined; too few for a rate are refused."""
    block = rows(synthetic(count=50))
    section = fit_workload(block, 0.5, "empirical")
    TypeAdapter(WorkloadConfig).validate_python(section)
    with pytest.raises(InputError, match="at least 20 requests"):
        fit_workload(block.rows(slice(0, 10)), 1.0, "empirical")
    equal = Columns(np.arange(100) * 10**8, np.full(100, 7), np.full(100, 3))
    fitted = fit_workload(equal, 1000.0, "lognormal")
    assert fitted["lengths"]["prompt"] == {"kind": "fixed", "value": 7}
    assert fitted["lengths"]["correlation"] == 0


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["workload", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_commands(tmp_path: Path, trace_file: Callable[..., str]) -> None:
    """Describe prints and draws, convert writes what describe reads, fit writes a section that a study accepts."""
    times = np.cumsum(np.random.default_rng(3).exponential(0.1, 2000))
    content = "arrived_at,num_prefill_tokens,num_decode_tokens\n" + "".join(
        f"{t:.6f},{50 + i % 90},{i % 40 + 1}\n" for i, t in enumerate(times)
    )
    path = trace_file(content)
    text = invoke("describe", path)
    assert "requests: 2,000" in text
    assert "█" in text
    assert '"requests": 100' in invoke("describe", path, "--json", "--first", "100")
    written = str(tmp_path / "own.parquet")
    assert "Wrote 2,000 requests" in invoke("convert", path, written)
    assert invoke("describe", written) == text
    fitted = tmp_path / "fit.yaml"
    invoke("fit", path, "-o", str(fitted), "--window-s", "60")
    TypeAdapter(WorkloadConfig).validate_python(yaml.safe_load(fitted.read_text())["workload"])
    assert yaml.safe_load(invoke("fit", path, "--lengths", "lognormal"))["workload"]["kind"] == "synthetic"


def test_commands_on_clients_and_lengths(tmp_path: Path, trace_file: Callable[..., str]) -> None:
    """ServeGen folders are generated from; files without times get Poisson arrivals at the rate asked for."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "chunk-0-trace.csv").write_text("0,5,1,Gamma,1,1\n")
    (tmp_path / "c" / "chunk-0-dataset.json").write_text('{"0": {"input_tokens": "{9: 1}", "output_tokens": "{4: 1}"}}')
    assert "client-0" in invoke("describe", str(tmp_path / "c"), "--duration-s", "100")
    path = trace_file("num_prefill_tokens,num_decode_tokens\n" + "10,1\n" * 1000)
    assert '"requests": 1000' in invoke("describe", path, "--request-rate", "5", "--json")
    with pytest.raises(InputError, match="--request-rate must be"):
        invoke("describe", path, "--request-rate", "0")
    with pytest.raises(InputError, match="--format: unknown format 'x'"):
        invoke("describe", path, "--format", "x")
    with pytest.raises(InputError, match="--duration-s must be"):
        invoke("describe", str(tmp_path / "c"), "--duration-s", "0")
