"""Runs that check themselves: the laws of every run, and full states with --paranoid."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cluster_sim.recording.request_log import RequestLog
from cluster_sim.recording.rows import RequestRow
from cluster_sim.serving.kv_cache.counted_blocks import CountedCache
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.outcome_checks import check_laws
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from tests.evidence import evidence_of
from tests.small_run import run_small, small_study

ENGINES = ("vllm_v1", "vllm_v1, enable_prefix_caching: false", "sglang", "tensorrt_llm", "vllm_v0", "sarathi", "orca")


@pytest.mark.parametrize("engine", ENGINES)
def test_checking_changes_nothing(tmp_path: Path, engine: str) -> None:
    """Sound states pass, and rows, counters and series are those of a run that does not look."""
    pool = f"fleet.pools.0.engine={{kind: {engine}, num_kv_blocks: 300, max_model_len: 2000}}"
    simulation = make_plan(small_study(tmp_path, pool, "workload.count=60")).simulation()
    plain = evidence_of(InlineExecutor(), simulation)
    assert evidence_of(InlineExecutor(), replace(simulation, is_paranoid=True)) == plain


def losing_blocks(free: Callable[..., None]) -> Callable[..., None]:
    """Return a ``free`` that gives back more blocks than were taken."""

    def faulty(cache: CountedCache, sequence: object) -> None:
        free(cache, sequence)
        cache.free_blocks = cache.total_blocks + 1

    return faulty


def test_a_broken_state_is_found_in_its_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that has more free blocks than blocks ends a run that checks itself."""
    monkeypatch.setattr(CountedCache, "free", losing_blocks(CountedCache.free))
    study = small_study(tmp_path, "fleet.pools.0.engine={kind: vllm_v1, enable_prefix_caching: false}")
    with pytest.raises(AssertionError):
        run_study(study, RunOptions(executor="inline", out=tmp_path / "run", is_paranoid=True))
    assert (tmp_path / "run.partial").is_dir()


def test_a_row_written_twice_is_found_in_its_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A router that has more rows and open requests than arrivals ends a run that checks itself."""
    add = RequestLog.add

    def twice(log: RequestLog, row: RequestRow) -> None:
        add(log, row)
        if row.request.request_id == 7:
            add(log, row)

    monkeypatch.setattr(RequestLog, "add", twice)
    study = small_study(tmp_path, "workload.count=60")
    with pytest.raises(AssertionError, match="requests have arrived, and"):
        run_study(study, RunOptions(executor="inline", out=tmp_path / "run", is_paranoid=True))
    with pytest.raises(RuntimeError, match="the run breaks its own laws: requests "):
        run_study(study, RunOptions(executor="inline", out=tmp_path / "plain"))


def test_broken_laws_end_a_run(tmp_path: Path) -> None:
    """Requests, tokens, blocks or bytes that do not add up are a fault of the program; Little's law is reported."""
    checks = run_small(tmp_path, "workload.count=20").summary["checks"]
    check_laws(checks)
    check_laws({**checks, "little": {"holds": False}})
    for name in ("requests", "tokens", "blocks", "transfers"):
        with pytest.raises(RuntimeError, match=f"the run breaks its own laws: {name} "):
            check_laws({**checks, name: {**checks[name], "holds": False}})
