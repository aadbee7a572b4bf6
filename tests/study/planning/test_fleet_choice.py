"""Layouts and fleets: what tells one from another."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.hardware.device import load_device
from cluster_sim.study.planning.fleet_choice import Bounds, Fleet, Layout
from cluster_sim.study.planning.plan_run import run_plan
from cluster_sim.study.replications import Replication
from tests.study.planning.plan_parts import MadeUpPool, small_study
from tests.study.planning.test_planner import make_up


def test_every_choice_is_part_of_the_key() -> None:
    """Fleets that differ in one choice have different keys; the plainest one names device, degrees and replicas."""
    layout = Layout("h100-sxm", 4)
    plain = Fleet(layout, (5,))
    changes = [
        {"device": "h200"},
        {"device": "/a/h100-sxm.yaml"},
        {"device": "/b/h100-sxm.yaml"},
        {"device": "/a/h100-sxm.json"},
        {"tensor_parallel": 2},
        {"pipeline_parallel": 2},
        {"data_parallel": 2},
        {"engine": "sglang"},
        {"max_model_len": 4096},
        {"max_num_batched_tokens": 4096},
        {"max_num_seqs": 4096},
        {"policy": "round_robin"},
    ]
    others = [replace(plain, layout=replace(layout, **change)) for change in changes]  # type: ignore[arg-type]
    others += [replace(plain, replicas=(6,)), replace(plain, bounds=Bounds(2, 10)), replace(plain, replicas=(2, 3))]
    keys = [fleet.key for fleet in (plain, *others)]
    assert keys[0] == "h100-sxm-tp4-pp1-5"
    assert len(set(keys)) == len(keys) == 16
    assert all(len(key) < 80 and "/" not in key for key in keys)


def test_device_files_of_one_name_are_two_devices(tmp_path: Path) -> None:
    """Of two files called mine.json the one at 2 USD needs 3 replicas and the one at 5 USD needs 1: 5 is cheaper."""
    source = load_device("h100-sxm").model_dump(mode="json", exclude_unset=True)
    files = {}
    for folder, usd in (("slow", 2.0), ("fast", 5.0)):
        files[folder] = tmp_path / folder / "mine.json"
        files[folder].parent.mkdir()
        files[folder].write_text(json.dumps(source | {"name": folder, "price_usd_per_hour": usd}), encoding="utf-8")

    def answer(study: Study, number: int) -> Replication:
        pool = study.fleet.pools[0]
        needed = 2.8 if "slow" in pool.device else 0.8
        return make_up(0.02 * needed / pool.replicas, number)

    changes = {"plan.devices": [str(file) for file in files.values()], "plan.tensor_parallel": [1]}
    changes["plan.max_num_batched_tokens"] = [8192]
    base = small_study().with_changes(changes)
    plan = run_plan(base, tmp_path / "plan", pool=MadeUpPool(answer)).document
    assert (plan["answer"]["device"], plan["answer"]["replicas"]) == (str(files["fast"]), [1])
    assert plan["answer"]["usd_per_hour"] == pytest.approx(5.0)
    known = {(Path(one["device"]).parent.name, one["replicas"][0], one["verdict"]) for one in plan["candidates"]}
    assert ("fast", 1, "met") in known
    assert {replicas for name, replicas, verdict in known if name == "slow" and verdict == "met"} <= {3}
    assert ("slow", 1, "met") not in known
