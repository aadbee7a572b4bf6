"""Files of a run, byte for byte: the same inline and on actors, however replicas are placed."""

from pathlib import Path

from cluster_sim.config.loading.load import load_study
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from tests.small_run import STUDY, run_small

FILES = ("requests.parquet", "series.parquet", "counters.parquet", "bench.json", "summary.json")


def test_files_do_not_depend_on_the_placement(tmp_path: Path) -> None:
    """Nothing is observed, so replicas run far ahead of each other on actors, and still every byte is the same."""
    changes = ("router.policy=round_robin", "workload.count=400")
    inline = run_small(tmp_path, *changes)
    study = tmp_path / "study.yaml"
    study.write_text(STUDY, encoding="utf-8")
    for per_actor in (1, 2):
        out = tmp_path / f"ray{per_actor}"
        overrides = [*changes, f"run.replicas_per_actor={per_actor}"]
        run_study(load_study(study, overrides), RunOptions(executor="ray", out=out))
        for name in FILES:
            assert (out / name).read_bytes() == (inline.directory / name).read_bytes(), name
