"""``cluster-sim plan``: options, wrong input, and one small plan from end to end."""

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from cluster_sim import plan
from cluster_sim.conf_directory import library_path
from cluster_sim.config.loading import load
from cluster_sim.config.schema.study import Study
from cluster_sim.report.heartbeat import Heartbeat
from cluster_sim.study.planning import plan_run
from tests.cli.command import Command
from tests.study.planning.plan_parts import small_study
from tests.study.planning.test_autoscaled import HPA, scaled_runs


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A trace of 300 requests over 10 s in Azure's layout."""
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    lines += [
        f"2023-11-16 18:15:{index / 30 + 10:010.7f},{200 + 37 * (index % 11)},{20 + index % 30}" for index in range(300)
    ]
    path = tmp_path / "trace.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_plan_from_options(command: Command, trace: Path, tmp_path: Path) -> None:
    """Model, trace and limits are enough; the last line names GPUs and price, and `run` reproduces the winner."""
    common = ("--model", "llama-3-8b", "--trace", trace, "--slo", "ttft_p99=1s", "--slo", "tpot_p99=30ms")
    options = ("--device", "h100-sxm", "--rate-scale", 2, "--out", tmp_path / "plan", "--set")
    options = (*options, "plan.tensor_parallel=[1]", "--set", "plan.pipeline_parallel=[1]")
    code, output, errors = command("plan", *common, *options)
    assert code == 0, errors
    document = json.loads((tmp_path / "plan/plan.json").read_text())
    answer = document["answer"]
    last = output.rstrip().splitlines()[-1]
    assert last.startswith("1 x h100-sxm GPU at 2.99 USD an hour: ")
    assert (answer["gpus"], answer["usd_per_hour"]) == (1, 2.99)
    assert "vllm serve" in output
    assert "modelArtifacts:" in output
    assert document["load"]["requests_per_s"] == pytest.approx(2 * 30, rel=0.01)
    code, _, errors = command("run", tmp_path / "plan/winner.yaml", "--out", tmp_path / "run")
    assert code == 0, errors
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    for name, value in answer["first_run"].items():
        block, _, figure = name.partition(".")
        assert (summary[block][figure] if figure else summary[block]) == value
    code, output, _ = command("plan", *common, *options, "--json")
    assert code == 0
    assert json.loads(output) == document
    trace.write_text(trace.read_text().replace(",200,20\n", ",201,20\n", 1))
    code, _, errors = command("plan", *common, *options)
    assert code == 2
    assert f"holds a plan of other input than this study reads: {trace} has changed since it was begun" in errors


def test_a_plan_from_a_file(command: Command, trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options change the study file: model, trace, limits, devices, constraints and the time."""
    seen: list[Study] = []

    def record(base: Study, out: Path | None, **_: object) -> None:
        seen.append(base)
        raise SystemExit(0)

    monkeypatch.setattr(plan_run, "run_plan", record)
    file = tmp_path / "study.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "name": "mine",
                "workload": {
                    "kind": "synthetic",
                    "count": 9,
                    "arrivals": {"kind": "poisson", "request_rate": 5},
                    "lengths": {"prompt": {"kind": "fixed", "value": 9}, "output": {"kind": "fixed", "value": 9}},
                },
                "fleet": {"pools": [{"model": "llama-3-8b", "device": "h200"}]},
                "plan": {"max_gpus": 4, "devices": ["h200"]},
            }
        ),
        encoding="utf-8",
    )
    options = ("--slo", "e2e_p90=5s", "--device", "h100-sxm, h200", "--max-gpus", 8, "--max-usd-per-hour", 30)
    code, _, _ = command("plan", file, *options, "--time-limit", "2min", "--rate-scale", 3)
    assert code == 0
    (base,) = seen
    assert base.plan is not None
    assert base.plan.devices == ("h100-sxm", "h200")
    assert (base.plan.max_gpus, base.plan.max_usd_per_hour, base.plan.time_limit_s) == (8, 30.0, 120.0)
    assert base.slo.e2e_p90_s == 5.0
    assert base.workload.arrivals.request_rate == 15.0  # type: ignore[attr-defined]
    command("plan", file, "--trace", trace, "--model", "llama-3-70b", "--slo", "itl_p99=100ms", "--rate-scale", 4)
    assert seen[1].workload.time_scale == 0.25  # type: ignore[attr-defined]
    assert seen[1].fleet.pools[0].model == "llama-3-70b"


def test_users_of_a_trace(command: Command, trace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Users send the lengths of a trace, ten requests each or 3,000; a study's own users are changed."""
    seen: list[Study] = []

    def record(base: Study, out: Path | None, **_: object) -> None:
        seen.append(base)
        raise SystemExit(0)

    monkeypatch.setattr(plan_run, "run_plan", record)
    common = ("--slo", "ttft_p99=1s", "--users", 400)
    options = ("--model", "llama-3-8b", "--trace", trace)
    assert command("plan", *options, *common, "--think-time", "90s", "--rate-scale", 2)[0] == 0
    workload = seen[0].workload.model_dump(exclude_unset=True)
    assert (workload["users"], workload["count"], workload["ramp_s"]) == (800, 4000, 90.0)
    assert workload["think_time_s"] == {"kind": "exponential", "mean": 90.0}
    assert workload["lengths"]["path"] == str(trace)
    file = tmp_path / "study.yaml"
    file.write_text(
        "workload: {kind: closed_loop, users: 3, count: 9, think_time_s: {kind: fixed, value: 1}, lengths: "
        "{prompt: {kind: fixed, value: 9}, output: {kind: fixed, value: 9}}}\n"
        "fleet: {pools: [{model: llama-3-8b, device: h200}]}\n",
        encoding="utf-8",
    )
    assert command("plan", file, *common)[0] == 0
    assert seen[1].workload.users == 400  # type: ignore[attr-defined]
    assert "--think-time 1s: belongs to --users with --trace" in command("plan", file, *common, "--think-time", "1s")[2]
    assert command("plan", file, "--trace", trace, *common)[0] == 0
    assert seen[2].workload.think_time_s.value == 0  # type: ignore[attr-defined]
    file.write_text(file.read_text().replace("closed_loop, users: 3", "synthetic"), encoding="utf-8")
    code, _, errors = command("plan", file, *common)
    assert code == 2
    assert "--users 400" in errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--slo", "ttft_p98=2s"], "--slo ttft_p98=2s: no limit is called 'ttft_p98'; did you mean 'ttft_p99'?"),
        (["--slo", "ttft_p99=2"], "a positive number with its unit (us, ms, s, m or min, h), for example 2s or 60ms"),
        (["--slo", "ttft_p99"], "must look like NAME=TIME"),
        (["--slo", "ttft_p99=2s", "--slo", "ttft_p99=3s"], "contradicts --slo ttft_p99=2s; give one of them"),
        ([], "a plan needs at least one limit"),
        (["--slo", "ttft_p99=2s", "--device", "h101"], "--device h101: plan.devices.0: unknown name 'h101'"),
        (["--slo", "ttft_p99=2s", "--rate-scale", "0"], "--rate-scale 0: must be a positive number"),
        (["--slo", "ttft_p99=2s", "--rate-scale", "1e12"], "--rate-scale 1e+12: must be a positive number, at most 10"),
        (["--slo", "ttft_p99=2s", "--time-limit", "soon"], "the time must be a positive number with its unit"),
        (["--slo", "ttft_p99=2s", "--set", "plan.objective=fame"], "plan.objective: must be"),
        (["--slo", "ttft_p99=2s", "--set", "plan.engines=[vlm]"], "unknown engine 'vlm'"),
        (
            ["--slo", "ttft_p99=2s", "--set", "plan.policies=[round_robbin]"],
            "plan.policies: unknown routing policy 'round_robbin'; did you mean 'round_robin'?",
        ),
        (
            ["--slo", "ttft_p99=2s", "--device", "h100-sxm", "--max-usd-per-hour", "1"],
            "plan.max_usd_per_hour: 1 USD an hour pay for no replica; the cheapest is 1 x h100-sxm at 2.99 USD an hour",
        ),
        (
            ["--slo", "tpot_p99=0.01ms", "--device", "h100-sxm"],
            "no fleet of any size meets the limits; the nearest is 8 x h100-sxm (TP 8), where a token alone takes",
        ),
    ],
)
def test_wrong_input(options: list[str], message: str, command: Command, trace: Path, tmp_path: Path) -> None:
    """Wrong options end with code 2 and one message that names the option."""
    code, _, errors = command("plan", "--model", "llama-3-8b", "--trace", trace, *options, "--out", tmp_path / "plan")
    assert code == 2
    assert message in errors


def test_several_models_share_a_fleet(command: Command, tmp_path: Path) -> None:
    """A pool for each model: both are planned, and the last line names the GPUs and the price of both."""
    lengths = {"prompt": {"kind": "fixed", "value": 200}, "output": {"kind": "fixed", "value": 20}}
    parts = [
        {
            "kind": "synthetic",
            "count": 200,
            "arrivals": {"kind": "poisson", "request_rate": 10},
            "lengths": lengths,
            "traits": {"model": model},
        }
        for model in ("llama-3-8b", "qwen3-8b")
    ]
    study = {
        "name": "two",
        "workload": {"kind": "mix", "parts": parts},
        "fleet": {
            "pools": [
                {"name": one["traits"]["model"], "model": one["traits"]["model"], "device": "h100-sxm"} for one in parts
            ]
        },
        "predictor": {"kind": "roofline"},
        "slo": {"ttft_p90_s": 1.0},
        "plan": {
            "devices": ["h100-sxm"],
            "tensor_parallel": [1],
            "pipeline_parallel": [1],
            "replications": 2,
            "disaggregation": False,
        },
    }
    file = tmp_path / "two.yaml"
    file.write_text(yaml.safe_dump(study), encoding="utf-8")
    code, output, errors = command("plan", file, "--out", tmp_path / "plan")
    assert code == 0, errors
    lines = output.rstrip().splitlines()
    assert lines[-1] == (
        "2 GPUs at 5.98 USD an hour: llama-3-8b: 1 replica of 1 x h100-sxm; qwen3-8b: 1 replica of 1 x h100-sxm"
    )
    assert "All models together, in one run of the whole load: limits met" in lines
    for name in ("llama-3-8b", "qwen3-8b"):
        assert (
            f"{tmp_path / 'plan' / name}: plan.json, plan.html, winner.yaml (cluster-sim run gives its figures)"
            in lines
        )
    assert (tmp_path / "plan/qwen3-8b/plan.html").exists()
    assert command("run", tmp_path / "plan/winner.yaml", "--out", tmp_path / "run")[0] == 0
    manifests = []
    for place in ("plan", "moved", "plan"):  # What runs in a moved folder is the same run.
        run = (tmp_path / place / "qwen3-8b/winner.yaml", "--out", tmp_path / f"run {len(manifests)}")
        assert command("run", *run, "--set", "run.executor=inline")[0] == 0
        manifests.append(json.loads((run[2] / "manifest.json").read_text()))
        (tmp_path / place).rename(tmp_path / ("moved" if place == "plan" else "plan"))
    (tmp_path / "moved").rename(tmp_path / "plan")
    assert len({(one["config_hash"], one["digest"]) for one in manifests}) == 1
    found = plan(Study.load(file), out=tmp_path / "plan")
    assert (found.answer["gpus"], list(found.models)) == (2, ["llama-3-8b", "qwen3-8b"])
    assert set(found.candidates["model"]) == {"llama-3-8b", "qwen3-8b"}
    assert len(found.winner.fleet.pools) == 2
    assert "2 GPUs at 5.98 USD an hour" in repr(found)


def test_what_is_missing_is_named(command: Command, trace: Path) -> None:
    """Without a file, a model and a trace are needed; both are checked by their options' names."""
    assert "--model and --trace: needed without a study file" in command("plan")[2]
    assert "--trace nowhere.csv" in command("plan", "--model", "llama-3-8b", "--trace", "nowhere.csv")[2]
    code, _, errors = command("plan", "--model", "llama-9", "--trace", trace, "--slo", "ttft_p99=1s")
    assert code == 2
    assert "--model llama-9: fleet.pools.0.model: unknown name 'llama-9'" in errors


def test_another_directory_is_left_alone(command: Command, trace: Path, tmp_path: Path) -> None:
    """A directory that holds something else is refused and left as it is."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine", encoding="utf-8")
    options = ("--model", "llama-3-8b", "--trace", trace, "--slo", "ttft_p99=1s", "--out", tmp_path / "mine")
    code, _, errors = command("plan", *options)
    assert code == 2
    assert "exists and is not the directory of a plan" in errors
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_a_stopped_plan_names_its_directory(trace: Path, tmp_path: Path) -> None:
    """SIGTERM after the first run ends a plan with code 3, its directory and its one run in plan.json."""
    out = tmp_path / "plan"
    options = ("--model", "llama-3-8b", "--trace", trace, "--slo", "ttft_p99=1s", "--device", "h100-sxm", "--out", out)
    with subprocess.Popen(
        [sys.executable, "-m", "cluster_sim", "plan", *map(str, options)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "after 1 run" in line)
        process.send_signal(signal.SIGTERM)
        last = process.communicate(timeout=60)[1].rstrip().splitlines()[-1]
    assert process.returncode == 3
    runs = json.loads((out / "plan.json").read_text())["runs"]
    kept = f"{runs} run{'s' if runs > 1 else ''} kept"
    learned = f"what was learned is in {out / 'plan.json'}"
    assert last == f"unfinished: interrupted; {kept}, and the same command goes on in {out}; {learned}"


def test_a_silent_plan_shows_that_it_is_at_work(command: Command, trace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal a silence gives a line on standard error about the state, and standard output stays as is."""
    asked = threading.Event()

    def state() -> str:
        asked.set()
        return "3 runs made"

    def wait(*_: object, watch: Callable[[Callable[[], str]], None], **__: object) -> None:
        watch(state)
        assert asked.wait(30)
        raise SystemExit(0)

    monkeypatch.setattr(plan_run, "run_plan", wait)
    monkeypatch.setattr(Heartbeat.__init__, "__defaults__", (0.01,))
    code, output, errors = command("plan", "--model", "llama-3-8b", "--trace", trace, "--slo", "ttft_p99=1s")
    assert (code, output) == (0, "")
    assert errors.splitlines()[-1].endswith(" s: 3 runs made")


def test_an_interrupt_before_the_study_is_read(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is lost by it, and the message says so; with a directory that is there it names that."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(load, "read_document", interrupted)
    code, _, errors = command("plan", tmp_path / "study.yaml", "--out", tmp_path / "plan")
    begins = f"the same command begins again in {tmp_path / 'plan'}"
    assert (code, errors) == (3, f"unfinished: interrupted before anything was simulated; {begins}\n")
    (tmp_path / "plan").mkdir()
    _, _, errors = command("plan", tmp_path / "study.yaml", "--out", tmp_path / "plan")
    assert f"every run that ended is kept in {tmp_path / 'plan'}, and the same command goes on from there" in errors


def test_an_autoscaled_winner_has_its_autoscaler(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A winner of 2 to 10 replicas prints a HorizontalPodAutoscaler with these bounds and the study's target of 16."""
    monkeypatch.setattr(plan_run, "ProcessPool", lambda: scaled_runs(2, 3.5))
    file = tmp_path / "study.yaml"
    file.write_text(small_study(autoscaler=HPA, plan__max_num_batched_tokens=[8192]).to_yaml(), encoding="utf-8")
    code, output, errors = command("plan", file, "--out", tmp_path / "plan")
    assert code == 0, errors
    text = output.partition("Autoscaler beside the chart (kubectl apply):\n")[2].partition("\n\nAnswer")[0]
    spec = yaml.safe_load(text)["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 10)
    assert spec["metrics"][0]["external"]["target"]["averageValue"] == "16"
    assert "# The HorizontalPodAutoscaler meta-llama-3-8b-instruct-decode moves the replicas between 2 and 10" in output
    assert "HorizontalPodAutoscaler" in (tmp_path / "plan/plan.html").read_text(encoding="utf-8")


def test_a_model_with_a_long_name_has_a_plan(command: Command, trace: Path, tmp_path: Path) -> None:
    """A file of 125 characters, more than a study's name may have, is no fault: what is wrong is the device alone."""
    model = tmp_path / f"{'m' * 120}.yaml"
    model.write_bytes((library_path("models") / "llama-3-8b.yaml").read_bytes())
    code, _, errors = command(
        "plan", "--model", model, "--trace", trace, "--slo", "ttft_p99=2s", "--device", "h1000", "--out", tmp_path / "p"
    )
    assert code == 2
    assert "unknown name 'h1000'" in errors
    assert "characters" not in errors
