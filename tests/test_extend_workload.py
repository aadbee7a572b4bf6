"""The recipes of docs/extend.md for workloads, each as a package outside the project that nothing else knows."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.outside_package import CHECKOUT, install, recipe, run_command, run_python, run_study

RECIPES = {
    "arrival_process": ("bursts", "cluster_sim.arrivals"),
    "distribution": ("rayleigh", "cluster_sim.length_distributions"),
    "lengths": ("summary", "cluster_sim.lengths"),
    "trace_format": ("gateway_log", "cluster_sim.trace_readers"),
    "workload_kind": ("offline_batch", "cluster_sim.workload_kinds"),
}
CONTRACTS = (
    "arrivals/test_process_contract.py",
    "kinds/test_kind_contract.py",
    "lengths/test_sampler_contract.py",
    "readers/test_reader_contract.py",
    "sampling/test_distribution_contract.py",
)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A folder with one installed package for each recipe."""
    site = tmp_path / "site"
    for name, (module, group) in RECIPES.items():
        install(site, f"outside_{module}", recipe(name), group)
    return site


def rows(run: Path) -> list[dict[str, Any]]:
    return pq.read_table(run / "requests.parquet").to_pylist()


def test_arrivals_lengths_and_distribution(tmp_path: Path, site: Path) -> None:
    """Requests arrive ten at a time; prompts keep to the truncated interval; every output is a tenth of its prompt."""
    prompt, share = "{kind: rayleigh, scale: 300, min: 200, max: 400}", "{kind: fixed, value: 0.1}"
    run = run_study(
        tmp_path,
        site,
        "workload.arrivals={kind: bursts, size: 10, mean_gap_s: 5}",
        f"workload.lengths={{kind: summary, prompt: {prompt}, share: {share}}}",
    )
    assert set(Counter(row["arrival_s"] for row in rows(run)).values()) == {10}
    prompts = [row["prompt_tokens"] for row in rows(run)]
    assert 200 <= min(prompts) < max(prompts) <= 400
    assert len(set(prompts)) > 40, "nothing piles up on the ends"
    assert all(row["output_tokens"] == round(0.1 * row["prompt_tokens"]) for row in rows(run))


def test_the_trace_format_with_options(tmp_path: Path, site: Path) -> None:
    """A format that is registered in one place is read with its own options."""
    log = tmp_path / "gateway.csv"
    log.write_text("received_s,input,tokens_out\n0.5,374,44\n2.25,396,109\n", encoding="utf-8")
    trace_format = "{kind: gateway_log, prompt_column: input}"
    run = run_study(tmp_path, site, f"workload={{kind: trace, format: {trace_format}, path: {log}}}")
    assert [(row["arrival_s"], row["prompt_tokens"], row["output_tokens"]) for row in rows(run)] == [
        (0.0, 374, 44),
        (1.75, 396, 109),
    ]


def test_commands_know_the_trace_format(tmp_path: Path, site: Path) -> None:
    """``workload describe`` takes the format by name or finds it, and a misspelt name is told from it."""
    log = tmp_path / "gateway.csv"
    log.write_text("received_s,tokens_in,tokens_out\n0.5,374,44\n2.25,396,109\n", encoding="utf-8")
    for trace_format in ("gateway_log", "auto"):
        done = run_command(site, "workload", "describe", log, "--format", trace_format)
        assert "requests: 2 over 1.8 s" in done.stdout
    wrong = run_command(site, "workload", "describe", log, "--format", "gateway_lag")
    assert (wrong.returncode, "did you mean 'gateway_log'?" in wrong.stderr) == (2, True)


def test_the_workload_kind_sends_everything_at_once(tmp_path: Path, site: Path) -> None:
    """All requests are there at the start."""
    lengths = "{prompt: {kind: fixed, value: 500}, output: {kind: fixed, value: 50}}"
    run = run_study(tmp_path, site, f"workload={{kind: offline_batch, count: 30, lengths: {lengths}}}")
    assert [row["arrival_s"] for row in rows(run)] == [0.0] * 30


def test_every_contract_holds_for_every_recipe(site: Path) -> None:
    """The contract tests of the axes run over the parts of other packages, too, without knowing them."""
    files = [CHECKOUT / "tests" / "workload" / file for file in CONTRACTS]
    chosen = " or ".join(f"[{module}]" for module, _ in RECIPES.values())
    done = run_python(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, *files)
    assert done.returncode == 0, done.stdout
    counts = [int(count) for count in re.findall(r"(\d+) passed", done.stdout)]
    assert sum(counts) >= 18, "two of the lengths, three of the distribution, four or more of the others"


def test_the_commented_study_explains_outside_parts(tmp_path: Path, site: Path) -> None:
    """``init`` writes the parts of other packages and their options beside the project's own."""
    run_command(site, "init", "-o", tmp_path / "study.yaml")
    template = (tmp_path / "study.yaml").read_text(encoding="utf-8")
    for module, _ in RECIPES.values():
        if module != "gateway_log":
            assert f"# Or kind: {module}  # " in template
    assert "gateway_log" in template
    assert "mean_gap_s:  # Mean time between bursts, seconds." in template


BROKEN = "from cluster_sim.workload.arrivals.arrival_process import ARRIVALS\nimport nowhere_to_be_found\n"


def test_a_broken_package_is_named_and_the_others_work(tmp_path: Path, site: Path) -> None:
    """An entry point that fails to load is named with its package and error beside an unknown name; the rest works."""
    install(site, "outside_tides", BROKEN, "cluster_sim.arrivals")
    run = run_study(tmp_path, site, "workload.arrivals={kind: bursts, size: 10, mean_gap_s: 5}")
    assert len(rows(run)) == 60
    done = run_command(site, "validate", tmp_path / "study.yaml", "--set", "workload.arrivals.kind=tides")
    assert done.returncode == 2
    assert "the arrival process 'outside_tides' of the package outside-tides cannot be loaded" in done.stderr
    assert "ModuleNotFoundError: No module named 'nowhere_to_be_found'" in done.stderr
    assert "Traceback" not in done.stderr
