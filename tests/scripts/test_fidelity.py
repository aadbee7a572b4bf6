"""The scoreboard script: its output's layout, and that it refuses to fit."""

import importlib.util
import json
import sys
import types

import pytest

from cluster_sim.errors import InputError


@pytest.fixture(scope="module")
def script(checkout):
    spec = importlib.util.spec_from_file_location("fidelity_script", checkout / "scripts" / "fidelity.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def data(tmp_path):
    """One run of APEX's layout, of a known model, and one of an unknown one."""
    folder = tmp_path / "data" / "apex-vllm060-8xh100"
    folder.mkdir(parents=True)
    header = "experiment,model,tensor_parallel,trace,mean_ttft_s,mean_tpot_s,mean_request_latency_s\n"
    row = "{},{},4,llama/tiny.jsonl,0.05,0.02,0.2\n"
    (folder / "measured.csv").write_text(
        header + row.format("known", "meta-llama/Llama-3.1-70B") + row.format("unknown", "nobody/nothing")
    )
    import gzip

    with gzip.open(folder / "trace_llama__tiny.csv.gz", "wt") as stream:
        stream.write("start_s,input_tokens,output_tokens\n0.0,100,10\n0.5,100,10\n")
    return tmp_path / "data"


def test_scores_have_the_published_layout(script, data, tmp_path, monkeypatch):
    """OUT has overall, datasets and runs; an unknown model is listed with its reason, not a crash."""
    monkeypatch.delitem(sys.modules, script.FITTING_MODULE, raising=False)
    out = tmp_path / "scores.json"
    assert script.main(["--data", str(data), "--json", str(out)]) == 0
    result = json.loads(out.read_text())
    assert set(result["overall"]) == {"e2e", "tpot", "ttft"}
    assert result["datasets"]["apex-vllm060-8xh100"]["n"] == 1
    assert {"dataset", "run", "metric", "measured", "simulated", "error"} == set(result["runs"][0])
    assert [run["run"] for run in result["skipped"]] == ["unknown"]
    assert "nobody/nothing" in result["skipped"][0]["reason"]


def test_it_refuses_to_fit(script, monkeypatch):
    """Once anything has loaded the fitting code there are no scores."""
    monkeypatch.setitem(sys.modules, script.FITTING_MODULE, types.ModuleType("fit"))
    with pytest.raises(InputError, match="would fit"):
        script.refuse_to_fit()


def test_scoring_never_loads_the_fitting_code(checkout):
    """The modules behind the scoreboard do not import the fit."""
    import subprocess

    code = "import sys, validation.board, validation.text; sys.exit('cluster_sim.calibration.fit' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=checkout, check=False).returncode == 0


def test_a_folder_without_data_ends_with_code_2(script, tmp_path, capsys):
    """Nothing to score is wrong input: code 2, one message, no file."""
    out = tmp_path / "scores.json"
    assert script.main(["--data", str(tmp_path), "--json", str(out)]) == 2
    assert "none of the known data sets" in capsys.readouterr().err
    assert not out.exists()
