"""Loading a study: what a message says of file, line, key and allowed values."""

from pathlib import Path

import pytest

from cluster_sim.config.loading.load import load_study
from cluster_sim.errors import InputError
from cluster_sim.validation_messages import MAX_PROBLEMS

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
    - name: main
      model: llama-3-8b
      device: h100-sxm
      replicas: 2
      engine: {kind: vllm_v1, max_num_seqs: 64}
"""


@pytest.fixture
def study_file(tmp_path: Path) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY, encoding="utf-8")
    return path


def test_a_directory_is_no_model(study_file: Path, tmp_path: Path) -> None:
    """A directory in place of a file is told as one, with what was expected; the library is not listed."""
    (tmp_path / "downloaded").mkdir()
    (tmp_path / "empty.yaml").mkdir()
    (tmp_path / "downloaded" / "config.json").write_text("{}", encoding="utf-8")
    for override, hint in (
        ("fleet.pools.0.model=./downloaded", ", here its config.json, or a name of conf/models"),
        ("fleet.pools.0.device=./downloaded", ", or a name of conf/devices"),
        ("fleet.pools.0.model=empty.yaml", ", or a name of conf/models"),
    ):
        path = tmp_path / override.partition("=")[2]
        with pytest.raises(InputError) as error:
            load_study(study_file, [override])
        assert str(error.value).endswith(f"'{path}' is a directory: must be the path of a YAML or JSON file{hint}")
    with pytest.raises(InputError, match=r"unknown name '\./nothing'\. conf/models has: "):
        load_study(study_file, ["fleet.pools.0.model=./nothing"])


def test_defaults_fill_what_is_not_said(study_file: Path) -> None:
    """A short study loads; what it says is kept and the rest is at the defaults."""
    study = load_study(study_file)
    assert study.fleet.pools[0].replicas == 2
    assert study.fleet.pools[0].engine.max_num_seqs == 64
    assert study.fleet.network.router_to_replica_ms == 0.5
    assert study.router.policy == "least_outstanding"
    assert study.run.executor == "auto"
    assert study.seed == 42


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sede=1", "sede: unknown key; did you mean 'seed'?; known keys: name, seed, workload"),
        (
            "fleet.pools.0.replcas=1",
            "fleet.pools.0.replcas: unknown key; did you mean 'replicas'?; known keys: name, model",
        ),
        ("fleet.pools.0.engine.max_num_seq=1", "unknown key; did you mean 'max_num_seqs'?"),
        ("workload.arrivals.rate=1", "workload.arrivals.rate: unknown key; did you mean 'request_rate'?"),
        ("fleet.pools.0.replicas=-1", "fleet.pools.0.replicas: must be at least 0; got -1"),
        ("fleet.pools.0.replicas='2'", "fleet.pools.0.replicas: must be a whole number; got '2'"),
        ("fleet.pools.0.replicas=2.5", "fleet.pools.0.replicas: must be a whole number; got 2.5"),
        ("fleet.pools.0.replicas=true", "fleet.pools.0.replicas: must be a whole number; got true"),
        ("fleet.pools.0.replicas=", "fleet.pools.0.replicas: must be a whole number; got null"),
        ("fleet.pools=[]", "fleet.pools: needs at least one item; got []"),
        ("fleet.pools.0.engine.version=0.15", "must be text; got 0.15: put it in quotes"),
        ("fleet.network.router_to_replica_ms=-1", "must be at least 0; got -1"),
        ("fleet.network.router_to_replica_ms=.inf", "must be a finite number"),
        ("router.policy=least_outstandin", "must be one of "),
        ("router.policy=least_outstandin", "; got 'least_outstandin'; did you mean 'least_outstanding'?"),
        ("router.policy=3", "router.policy: must be text; got 3"),
        ("fleet.pools.0.engine.kind=vllm", "tensorrt_llm, vllm_v0, vllm_v1; got 'vllm'; did you mean 'vllm_v1'?"),
        ("router=3", "router: must be a mapping of keys to values; got 3"),
        ("run.macro_steps=yes", "run.macro_steps: must be true or false; got 'yes'"),
        ("run.replicas_per_actor=many", "run.replicas_per_actor: must be a whole number; got 'many' or must be auto"),
        ("run.replicas_per_actor=0", "run.replicas_per_actor: must be at least 1; got 0"),
        ("run.port_range=[9, 10]", "run.port_range.0: must be at least 1024; got 9"),
        ("run.port_range=[4000, 3000]", "run.port_range: the first port must not be above the second"),
        ("workload.kind=trce", "workload.kind: must be one of agentic, clients, closed_loop"),
        ("workload.kind=trce", "did you mean 'trace'?"),
        ("workload.kind=[trace]", "workload.kind: must be text; got ['trace']"),
        ("workload=trace", "workload: must be a mapping of keys to values; got 'trace'; for example {kind: trace}"),
        (
            "fleet.pools.0.engine=sglang",
            "must be a mapping of keys to values; got 'sglang'; for example {kind: sglang}",
        ),
        ("workload.arrivals.kind=poison", "; got 'poison'; did you mean 'poisson'?"),
        ("workload.lengths.kind=join", "one of empirical, independent, joint; got 'join'; did you mean 'joint'?"),
        ("workload.lengths.prompt.kind=fixd", "; got 'fixd'; did you mean 'fixed'?"),
        (
            "workload={kind: trace, path: ., format: azur}",
            "workload.format: must be one of auto, aiperf_records, azure, bailian",
        ),
        ("workload={kind: trace, path: ., format: azur}", "; got 'azur'; did you mean 'azure'?"),
        (
            "workload={kind: trace, path: ., format: {kind: azur}}",
            "workload.format.kind: must be one of aiperf_records, azure, ",
        ),
        ("workload.arrivals.burstiness=2", "burstiness belongs to gamma; this arrival process is poisson"),
        ("workload.lengths.prompt.mu=2", "mu belongs to lognormal and truncated_normal; this distribution is fixed"),
        ("workload.lengths.weights=[1]", "weights belongs to joint; this kind of lengths is independent"),
        (
            "fleet.pools.0.engine={kind: orca, async_scheduling: true}",
            "async_scheduling belongs to vllm_v1; this pool is orca",
        ),
        ("predictor={kind: roofline, alpha_us: 3}", "alpha_us belongs to linear; this predictor is roofline"),
        ("workload.users=2", "users belongs to closed_loop; this workload kind is synthetic"),
        ("workload={count: 3}", "workload.kind: is required"),
        ("fleet.pools.0.model=llama-3-8", "unknown name 'llama-3-8'; did you mean 'llama-3-8b'?"),
        ("fleet.pools.0.device=h1000", "conf/devices has: "),
        ("fleet.pools.0.model=mine.yaml", "fleet.pools.0.model: no such file: "),
        ("name=a/b", "name: must match pattern"),
        ("sweep={grid: {seed: []}}", "sweep.grid: seed has no values"),
        ("sweep={grid: {}}", "sweep: varies no key: give grid, zip, list or sample at least one"),
    ],
)
def test_messages(study_file: Path, override: str, message: str) -> None:
    """Wrong keys, types, ranges, names and files are refused with the key and what would be right."""
    with pytest.raises(InputError) as caught:
        load_study(study_file, [override])
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"--set {override}: ")


def test_file_and_line(study_file: Path) -> None:
    """A fault in the file is named with its line, a missing key with the line of its block."""
    study_file.write_text(STUDY.replace("replicas: 2", "replicas: two").replace("      device: h100-sxm\n", ""))
    with pytest.raises(InputError) as caught:
        load_study(study_file)
    assert str(caught.value).splitlines() == [
        f"{study_file}:11: fleet.pools.0.device: is required",
        f"{study_file}:13: fleet.pools.0.replicas: must be a whole number; got 'two'",
    ]


def test_long_lists_are_cut(study_file: Path) -> None:
    """One message lists a bounded number of faults and says how many more there are."""
    with pytest.raises(InputError) as caught:
        load_study(study_file, [f"unknown_{index}=1" for index in range(MAX_PROBLEMS + 3)])
    lines = str(caught.value).splitlines()
    assert len(lines) == MAX_PROBLEMS + 1
    assert lines[-1] == "... and 3 more"


def test_two_pools_of_one_name(study_file: Path) -> None:
    """Pools have different names."""
    pool = "{name: a, model: llama-3-8b, device: h100-sxm}"
    with pytest.raises(InputError, match="two pools have the name 'a'"):
        load_study(study_file, [f"fleet.pools=[{pool}, {pool}]"])


def test_paths_are_found_beside_the_study(study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is looked up beside the study first, then in the working directory, and made absolute."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (elsewhere / "trace.csv").touch()
    override = ["workload={kind: trace, format: azure, path: trace.csv}"]
    assert load_study(study_file, override).workload.path == str(elsewhere / "trace.csv")
    (tmp_path / "trace.csv").touch()
    assert load_study(study_file, override).workload.path == str(tmp_path / "trace.csv")
