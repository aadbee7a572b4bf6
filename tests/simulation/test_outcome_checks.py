"""Runs whose input shows only by its outcome to be wrong."""

from pathlib import Path

import pytest

from cluster_sim.config.loading.load import read_document
from cluster_sim.errors import InputError
from cluster_sim.simulation import impossible_requests
from cluster_sim.study.validation_report import validation_report
from cluster_sim.study.variants import expand
from tests.small_run import run_small, small_study

TWO = "fleet.pools=[{name: a, model: qwen3-8b, device: h100-sxm}, {name: b, model: qwen3-14b, device: h100-sxm}]"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["fleet.pools.0.engine.max_model_len=40"],
            r"^workload: no replica can ever .* 150 requests \(150 longer than the context\): .* with 40 tokens of",
        ),
        (
            ["fleet.pools.0.engine.num_kv_blocks=3"],
            r"\(150 longer than the KV cache\): .* and 32 of KV cache",
        ),
        ([TWO], r"\(150 model not served\): pool a serves qwen3-8b .*; workload\.model, or the trait model, names"),
        (
            ["run.end_s=0.0001"],
            r"^run\.end_s: 0\.0001 s is before .*: the first request arrives at 0\.\d+ s",
        ),
    ],
)
def test_runs_in_which_nothing_can_happen_are_wrong_input(tmp_path: Path, overrides: list[str], message: str) -> None:
    """Where no replica can ever run a request, or none arrives, the message says why, nothing is left behind, and
    validation says the same before a run.
    """
    with pytest.raises(InputError, match=message) as refused:
        run_small(tmp_path, *overrides)
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]
    with pytest.raises(InputError) as found:
        validation_report(small_study(tmp_path, *overrides))
    assert str(found.value) == str(refused.value)


def test_losses_are_results(tmp_path: Path) -> None:
    """One request that runs beside refused ones, and requests whose clients all give up, make a result."""
    mixed = run_small(tmp_path, "fleet.pools.0.engine.max_model_len=200")
    assert 0 < mixed.summary["requests"]["refused"] < 150
    given_up = run_small(tmp_path, "router.client_timeout_s=0.001")
    assert given_up.summary["requests"]["finished"] == 0


def _warnings(folder: Path, *overrides: str) -> list[str]:
    report = validation_report(small_study(folder, *overrides)).splitlines()
    return [line for line in report if line.startswith("# Warning: ")]


def test_validation_warns_of_requests_that_cannot_run(tmp_path: Path) -> None:
    """Of 30 prompts of 100 tokens and 10 of 300, with 5 of output each, a context of 105 serves 30: 10 are told."""
    trace = tmp_path / "trace.csv"
    lengths = [300 if number % 4 == 0 else 100 for number in range(40)]
    rows = [f"{number},{length},5" for number, length in enumerate(lengths)]
    trace.write_text("\n".join(["arrived_at,num_prefill_tokens,num_decode_tokens", *rows, ""]), encoding="utf-8")
    workload = f"workload={{kind: trace, path: {trace}}}"
    assert _warnings(tmp_path, workload, "fleet.pools.0.engine.max_model_len=305") == []
    assert _warnings(tmp_path, workload, "fleet.pools.0.engine.max_model_len=304") == [
        "# Warning: workload: no replica can ever run 10 of the 40 requests (10 longer than the context)"
    ]
    assert _warnings(tmp_path, workload, "fleet.pools.0.engine.max_model_len=105") == [
        "# Warning: workload: no replica can ever run 10 of the 40 requests (10 longer than the context)"
    ]
    with pytest.raises(InputError, match=r"run any of the 40 requests \(40 longer than the context\)"):
        _warnings(tmp_path, workload, "fleet.pools.0.engine.max_model_len=104")


def test_a_pool_that_an_upgrade_brings_may_run_what_the_first_cannot(tmp_path: Path) -> None:
    """With contexts of 40 tokens first and 2,000 after a change, requests of 51 to 990 tokens are no error."""
    change = "run.changes=[{at_s: 1, set: {fleet.pools.0.engine.max_model_len: 2000}}]"
    assert _warnings(tmp_path, "fleet.pools.0.engine.max_model_len=40", change) == []


def test_a_sweep_may_vary_what_makes_its_study_impossible(tmp_path: Path) -> None:
    """A study that is refused alone is told as a warning where it has a sweep, whose runs decide."""
    study = small_study(tmp_path, "fleet.pools.0.engine.max_model_len=40")
    grid = {"fleet.pools.0.engine.max_model_len": [40, 4096]}
    document = read_document(tmp_path / "study.yaml", ["fleet.pools.0.engine.max_model_len=40"])
    document.data["sweep"] = {"grid": grid}
    report = validation_report(study, expand(tmp_path / "study.yaml", document))
    assert (
        "# Warning: workload: no replica can ever run any of the 150 requests (150 longer than the context)" in report
    )


def test_conversations_end_with_the_turn_that_is_refused(tmp_path: Path) -> None:
    """Of 10 sessions of 3 turns of 500 tokens, a context of 100 refuses the 10 first turns, in a run and before it."""
    sessions = (
        "workload={kind: sessions, count: 10, arrivals: {kind: poisson, request_rate: 5}, "
        "turns: {kind: fixed, value: 3}, think_time_s: {kind: fixed, value: 1}, "
        "lengths: {prompt: {kind: fixed, value: 500}, output: {kind: fixed, value: 9}}}"
    )
    for check in (run_small, lambda *given: validation_report(small_study(*given))):
        with pytest.raises(InputError, match=r"run any of the 10 requests \(10 longer than the context\)"):
            check(tmp_path, sessions, "fleet.pools.0.engine.max_model_len=100")


def test_a_long_workload_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With at most 100 requests looked at, 100 of 150 that cannot run are a warning: a later one may run."""
    monkeypatch.setattr(impossible_requests, "SAMPLE", 20)
    monkeypatch.setattr(impossible_requests, "MOST", 100)
    assert _warnings(tmp_path, "fleet.pools.0.engine.max_model_len=40") == [
        "# Warning: workload: no replica can ever run any of the first 100 requests (100 longer than the context)"
    ]
    assert _warnings(tmp_path) == []
