"""Wrong input on the command line: exit code 2, one message that says what and where, and nothing left behind."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cluster_sim.cli.app import main

STUDY = """\
name: small
workload:
  kind: synthetic
  count: 5
  arrivals: {kind: poisson, request_rate: 1}
  lengths:
    prompt: {kind: fixed, value: 100}
    output: {kind: fixed, value: 10}
fleet:
  pools:
    - {name: main, model: llama-3-8b, device: h100-sxm, replicas: 2}
router: {policy: least_outstanding}
run: {executor: inline}
"""
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
VIDUR = "arrived_at,num_prefill_tokens,num_decode_tokens\n"

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs ``cluster-sim run`` on the study with overrides; returns exit code and what it wrote to standard error.

    Checks that a code of 2 comes with one message and leaves nothing where the results would be.
    """
    study = tmp_path / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")

    def call(*overrides: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
        chosen = [word for override in overrides for word in ("--set", override)]
        out = tmp_path / "results" / "run"
        monkeypatch.setattr(sys, "argv", ["cluster-sim", "run", str(study), "--out", str(out), *chosen, *options])
        with pytest.raises(SystemExit) as stop:
            main()
        error = capsys.readouterr().err
        code = int(stop.value.code or 0)
        if code == 2:
            assert error.startswith("error: ")
            assert error.count("error: ") == 1
            assert "Traceback" not in error
            assert not (out.parent).exists() or not list(out.parent.iterdir())
        return code, " ".join(error.split())

    return call


@pytest.mark.parametrize(
    ("override", "messages"),
    [
        ("router.polcy=random", ("router.polcy", "unknown key", "policy")),
        ("router.policy=fastest", ("router.policy", "fastest", "round_robin", "least_loaded")),
        ("fleet.pools.0.engine.kind=vllm", ("fleet.pools.0.engine.kind", "vllm_v1", "sarathi")),
        ("fleet.pools.0.model=llama-9", ("fleet.pools.0.model", "llama-9", "llama-3-8b")),
        ("fleet.pools.0.device=h1000", ("fleet.pools.0.device", "h1000", "h100-sxm")),
        ("fleet.pools.0.replicas=two", ("fleet.pools.0.replicas", "two")),
        ("fleet.pools.0.replicas=1.5", ("fleet.pools.0.replicas", "1.5")),
        ("fleet.pools.0.replicas=0", ("fleet.pools.0.replicas", "at least 1")),
        ("fleet.pools.0.replicas=1000000000", ("fleet.pools.0.replicas", "at most 100000")),
        ("run.series_interval_s=1e-9", ("run.series_interval_s", "0, or at least 0.001")),
        ("fleet.network.router_to_replica_ms=-1", ("fleet.network.router_to_replica_ms", "at least 0")),
        ("workload.arrivals.request_rate=0", ("workload.arrivals.request_rate", "greater than 0")),
        ("workload.lengths.prompt.value=-5", ("workload.lengths.prompt", "-5")),
        ("seed=-1", ("seed", "at least 0")),
        ("run.end_s=0", ("run.end_s", "greater than 0")),
        ("run.end_s=1e10", ("run.end_s", "at most 63072000")),
        ("run.series_interval_s=1e12", ("run.series_interval_s", "at most 63072000")),
        ("router.client_timeout_s=1e-10", ("router.client_timeout_s", "at least 0.000000001")),
        ("router.telemetry={period_ms: 1e-8, latency_ms: 5}", ("router.telemetry", "perfect knowledge")),
        ("fleet.network.replica_to_router_ms=1e15", ("fleet.network.replica_to_router_ms", "at most 86400000")),
        ("run.port_range=[30000, 20000]", ("run.port_range", "first port must not be above the second")),
        ("router.telemetry.period_ms=nan", ("router.telemetry.period_ms",)),
        ("router.telemetry={period_ms: 0, latency_ms: 5}", ("router.telemetry", "perfect knowledge", "latency_ms: 0")),
        ("fleet.pools.0.tensor_parallel=3", ("fleet.pools.0.tensor_parallel: 3", "heads")),
        (
            "fleet.pools.0.model=nvidia/DeepSeek-R1-NVFP4",
            ("fleet.pools.0.model", "it is deepseek-r1 in another precision", "engine.quantization"),
        ),
        ("fleet.pools.0.pipeline_parallel=99", ("fleet.pools.0.pipeline_parallel: 99", "layers")),
        ("fleet.pools.0.model=llama-3-70b", ("llama-3-70b", "does not fit", "131.4 GiB", "71.3 GiB")),
        ("fleet.pools.0.engine.max_num_seqs=100000", ("fleet.pools.0.engine.max_num_seqs:", "max_num_batched_tokens")),
        ("fleet.pools.0.power_cap_w=1", ("fleet.pools.0.power_cap_w:", "203 W")),
        ("fleet.pools.0.expert_parallel=2", ("fleet.pools.0.expert_parallel:", "has no experts")),
        ("workload={kind: trace, format: azure, path: nowhere.csv}", ("nowhere.csv", "no such file")),
        ("workload={kind: trace, format: azure, path: .}", ("is a folder",)),
        (
            f"workload={{kind: trace, format: azure, path: {'x' * 5000}}}",
            ("workload.path: is no path: File name too long; got 'xxx", "characters)"),
        ),
        ("predictor={kind: table, path: nowhere.parquet}", ("nowhere.parquet", "no such file")),
        ("predictor={kind: linear, alpha_us: 1e300}", ("predictor", "alpha_us", "at most 1000000000")),
        ("predictor={kind: oracle}", ("predictor", "oracle", "roofline")),
    ],
)
def test_wrong_study(run: Run, override: str, messages: tuple[str, ...]) -> None:
    """Unknown names and keys, wrong types and ranges, missing files, impossible degrees, models that do not fit."""
    code, error = run(override)
    assert code == 2
    for message in messages:
        assert message in error


@pytest.mark.parametrize(
    ("form", "text", "messages"),
    [
        ("azure", AZURE + "2023-11-16 18:15:46.6,374,44\nyesterday,396,109\n", ("line 3", "TIMESTAMP", "yesterday")),
        ("azure", AZURE + "2023-11-16 18:15:46.6,many,44\n", ("line 2", "ContextTokens", "many")),
        ("azure", AZURE + "2023-11-16 18:15:46.6,374,0\n", ("line 2", "GeneratedTokens", "no output tokens")),
        ("azure", AZURE + "2023-11-16 18:15:46.6,-1,9\n", ("line 2", "ContextTokens", "-1")),
        ("azure", AZURE + "2023-11-16 18:15:46.6,374\n", ("line 2", "2 columns where the header has 3")),
        ("azure", "TIMESTAMP,ContextTokens\n2023-11-16 18:15:46.6,374\n", ("line 1", "GeneratedTokens")),
        ("azure", "", ("empty",)),
        ("vidur", VIDUR + "0.5,10,20\nnan,10,20\n", ("line 3", "arrived_at", "nan")),
        ("vidur", VIDUR + "0.5,10,2.5\n", ("line 2", "num_decode_tokens", "2.5")),
        ("vidur", VIDUR + "-3,10,2\n", ("line 2", "arrived_at", "-3")),
        ("parquet", "this is no table", ("trace.csv",)),
    ],
)
def test_malformed_trace(run: Run, tmp_path: Path, form: str, text: str, messages: tuple[str, ...]) -> None:
    """A wrong row is named by file, line, column and value."""
    trace = tmp_path / "trace.csv"
    trace.write_text(text, encoding="utf-8")
    code, error = run(f"workload={{kind: trace, format: {form}, path: {trace}}}")
    assert code == 2
    assert "trace.csv" in error
    for message in messages:
        assert message in error


def test_a_run_of_many_years(run: Run) -> None:
    """Users who think for months at a time cannot end within two years: said, not cut off; with an end they are."""
    fixed = "{kind: fixed, value: 5}"
    users = f"workload={{kind: closed_loop, users: 2, count: 60, lengths: {{prompt: {fixed}, output: {fixed}}}, "
    users += "think_time_s: {kind: fixed, value: 9000000}}"
    quiet = "run.series_interval_s=0"
    code, error = run(users, quiet)
    assert code == 2
    assert "beyond the two simulated years" in error
    assert run(users, quiet, "run.end_s=60000000")[0] == 0


def test_times_that_go_backwards(run: Run, tmp_path: Path) -> None:
    """Unsorted times are refused with the line where asked to; else they are sorted."""
    trace = tmp_path / "trace.csv"
    trace.write_text(VIDUR + "0.5,10,2\n0.4,10,2\n", encoding="utf-8")
    code, error = run(f"workload={{kind: trace, format: vidur, path: {trace}, strict: true}}")
    assert code == 2
    for message in ("trace.csv", "line 3", "the time goes backwards"):
        assert message in error
    assert run(f"workload={{kind: trace, format: vidur, path: {trace}}}")[0] == 0


@pytest.mark.parametrize("engine", ["{max_model_len: 64}", "{num_kv_blocks: 5}"])
def test_request_that_can_never_run(run: Run, tmp_path: Path, engine: str) -> None:
    """A request longer than the context or the whole KV cache is refused with a status; the others are served."""
    trace = tmp_path / "trace.csv"
    trace.write_text(VIDUR + "0.5,10,2\n0.6,60,6\n0.7,30,30\n", encoding="utf-8")
    code, _ = run(f"workload={{kind: trace, format: vidur, path: {trace}}}", f"fleet.pools.0.engine={engine}")
    assert code == 0
    summary = (tmp_path / "results" / "run" / "summary.json").read_text(encoding="utf-8")
    assert '"refused": 1' in summary
    assert '"finished": 2' in summary


def test_an_address_without_ray(run: Run) -> None:
    """An address that nothing would be sent to is refused."""
    code, error = run(options=("--address", "10.0.0.1:6379"))
    assert code == 2
    assert "--address 10.0.0.1:6379: the executor inline joins no cluster" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--linger-s", "3"), "--linger-s: has no effect without --metrics-port"),
        (("--metrics-host", "0.0.0.0"), "--metrics-host: has no effect without --metrics-port"),
        (("--min-cpus", "2"), "--min-cpus 2: the executor inline joins no cluster"),
        (("--executor", "ray", "--min-cpus", "1e9"), "--min-cpus 1e+09: a local cluster has the"),
        (("--executor", "ray", "--min-cpus", "inf"), "--min-cpus inf: must be a finite number"),
    ],
)
def test_options_without_effect(run: Run, options: tuple[str, ...], message: str) -> None:
    """Options that say nothing for this run, and CPUs that no cluster can have, are refused at once."""
    code, error = run(options=options)
    assert code == 2
    assert message in error


@pytest.mark.ray
def test_unreachable_cluster(run: Run) -> None:
    """A Ray address at which nothing answers is wrong input, said with the address."""
    code, error = run("run.executor=ray", options=("--address", "127.0.0.1:1"))
    assert code == 2
    assert "127.0.0.1:1" in error


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("name: [", ("study.yaml:1", "not valid YAML")),
        ("- 1\n- 2\n", ("study.yaml", "keys")),
        ("", ("study.yaml",)),
        ("name: a\nname: b\n", ("study.yaml:2", "name")),
        (STUDY.replace("router:", "routr:"), ("study.yaml:12", "routr", "router")),
        (STUDY.replace("3-8b", "3-70b"), ("study.yaml:11: fleet.pools.0.model: llama-3-70b does not fit h100-sxm",)),
        (STUDY.replace("rate: 1", "rate: 1e-9"), ("study.yaml:5: workload.arrivals: the rate is so low",)),
    ],
)
def test_malformed_study_file(run: Run, tmp_path: Path, text: str, messages: tuple[str, ...]) -> None:
    """What is not a study is said with the file and the line."""
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    code, error = run()
    assert code == 2
    for message in messages:
        assert message in error


def test_a_wrong_device_file_is_named_at_its_key(run: Run, tmp_path: Path) -> None:
    """Faults in a device's file stand at ``device``, not at the model of the pool."""
    (tmp_path / "device.yaml").write_text("name: own", encoding="utf-8")
    code, error = run("fleet.pools.0.device=./device.yaml")
    assert code == 2
    assert error.startswith("error: --set fleet.pools.0.device=./device.yaml: fleet.pools.0.device: ")
    assert "architecture: is required" in error
    assert "fleet.pools.0.model" not in error
