"""The ``workload`` commands."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter
from typer.testing import CliRunner

from cluster_sim.cli.app import app
from cluster_sim.errors import InputError
from cluster_sim.workload.kind_interface import WorkloadConfig
from tests.small_run import STUDY, run_small


@pytest.fixture(name="trace_file")
def _trace_file(tmp_path: Path) -> Callable[[str], str]:
    """Write a trace and return its path."""

    def write(content: str) -> str:
        path = tmp_path / "trace.csv"
        path.write_text(content)
        return str(path)

    return write


def invoke(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["workload", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_commands(tmp_path: Path, trace_file: Callable[[str], str]) -> None:
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


def test_commands_on_clients_and_lengths(tmp_path: Path, trace_file: Callable[[str], str]) -> None:
    """ServeGen folders are generated from; files without times get Poisson arrivals at the rate asked for."""
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "chunk-0-trace.csv").write_text("0,5,1,Gamma,1,1\n")
    (tmp_path / "c" / "chunk-0-dataset.json").write_text('{"0": {"input_tokens": "{9: 1}", "output_tokens": "{4: 1}"}}')
    assert "client-0" in invoke("describe", str(tmp_path / "c"), "--duration-s", "100")
    path = trace_file("num_prefill_tokens,num_decode_tokens\n" + "10,1\n" * 1000)
    assert '"requests": 1000' in invoke("describe", path, "--request-rate", "5", "--json")
    with pytest.raises(InputError, match="--request-rate must be"):
        invoke("describe", path, "--request-rate", "0")
    with pytest.raises(
        InputError, match=r"--format: must be one of auto, servegen, aiperf_records, azure, .*; got 'x'"
    ):
        invoke("describe", path, "--format", "x")
    with pytest.raises(InputError, match="--duration-s must be"):
        invoke("describe", str(tmp_path / "c"), "--duration-s", "0")
    with pytest.raises(InputError, match=r"--request-rate: the clients in .* have rates of their own"):
        invoke("describe", str(tmp_path / "c"), "--request-rate", "2")
    with pytest.raises(InputError, match=r"--duration-s: .* is a trace, not ServeGen's clients"):
        invoke("describe", path, "--duration-s", "2")
    timed = trace_file("arrived_at,num_prefill_tokens,num_decode_tokens\n1,10,1\n")
    with pytest.raises(InputError, match=r"--request-rate: the requests in .* have times of their own"):
        invoke("describe", timed, "--request-rate", "2")


def test_a_study_is_described_as_it_runs(tmp_path: Path) -> None:
    """A study brings its own seed; --first bounds it, and what only a trace can be asked is refused."""
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.replace("name: small\n", "name: small\nseed: 5\n"), encoding="utf-8")
    (tmp_path / "ran").mkdir()
    ran = run_small(tmp_path / "ran", "seed=5").summary
    described = json.loads(invoke("describe", str(study), "--json"))
    assert described["requests"] == ran["requests"]["total"] == 150
    assert described["prompt_tokens"]["mean"] == pytest.approx(ran["prompt_tokens"] / 150)
    assert json.loads(invoke("describe", str(study), "--json", "--seed", "6")) != described
    assert json.loads(invoke("describe", str(study), "--json", "--first", "7"))["requests"] == 7
    assert json.loads(invoke("describe", str(study), "--json", "--first", "700"))["requests"] == 150
    for option in (["--format", "azure"], ["--strict"]):
        with pytest.raises(InputError, match=rf"{option[0]}: .*study.yaml is a study"):
            CliRunner().invoke(app, ["workload", "describe", str(study), *option], catch_exceptions=False)


def test_files_of_no_known_format(trace_file: Callable[[str], str], tmp_path: Path) -> None:
    """``--columns`` names the file's own; a wrong key, unit or column is refused in plain words."""
    path = trace_file("ts,in,out\n2026-01-01T00:00:00Z,5,0\n2026-01-01T00:00:01Z,7,9\n")
    names = "arrival=ts,prompt_tokens=in,output_tokens=out"
    assert '"requests": 2' in invoke("describe", path, "--columns", names, "--zero-tokens", "one", "--json")
    written = str(tmp_path / "own.parquet")
    assert "Wrote 1 request to" in invoke("convert", path, written, "--columns", names, "--zero-tokens", "skip")
    for columns, message in (
        (
            names.replace("arrival", "arival"),
            "'arival=ts' must be KEY=NAME with one of arrival, .*did you mean 'arrival'",
        ),
        (f"{names},unit=h", "--columns: unit must be one of s, ms, us, ns; got 'h'"),
        ("arrival=ts", "--columns: prompt_tokens and output_tokens must be given"),
        (names, "line 2, column 'out': no output tokens; zero_tokens: skip or one"),
    ):
        with pytest.raises(InputError, match=message):
            invoke("describe", path, "--columns", columns)


def test_workloads_without_requests(tmp_path: Path, trace_file: Callable[[str], str]) -> None:
    """Nothing to replay, or nothing before the end, is refused by every command."""
    path = trace_file("Timestamp,Model,Request tokens,Response tokens\n5,a,9,0\n")
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.replace("count: 150", "count: 150\n  duration_s: 1.0e-9"), encoding="utf-8")
    for command in (["describe"], ["convert"]):
        for file in (path, str(study)):
            out = [str(tmp_path / "out.parquet")] if command == ["convert"] else []
            with pytest.raises(InputError, match=r"the only row was skipped|there are no requests"):
                invoke(*command, file, *out)
    (tmp_path / "ran").mkdir()
    with pytest.raises(InputError, match="there are no requests"):
        run_small(tmp_path / "ran", "workload.duration_s=1.0e-9")
    assert not (tmp_path / "out.parquet").exists()
