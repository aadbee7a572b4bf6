"""Fleets at several sites: every replica has links of its own, with equal results everywhere."""

from pathlib import Path
from random import Random

import pyarrow.parquet as pq
import pytest

from cluster_sim.config.loading.load import load_study
from cluster_sim.config.schema.study import Study
from cluster_sim.engine.group import LinkDelays
from cluster_sim.errors import InputError
from cluster_sim.simulation.fleet_sites import link_delays, site_warnings
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.plan import make_plan
from tests.engine.in_memory import InMemoryExecutor
from tests.evidence import evidence_of
from tests.small_run import run_small

MS = 1_000_000
FAR = (
    "fleet={sites: {router: east, routes: [{between: east - west, latency_ms: 30}, "
    "{between: west -> south, latency_ms: 5}, {between: south -> east, latency_ms: 50}]}, "
    "pools: [{name: near, model: llama-3-8b, device: h100-sxm, replicas: 1, engine: {num_kv_blocks: 800}}, "
    "{name: far, site: west, model: llama-3-8b, device: a100-80gb, replicas: 2, engine: {num_kv_blocks: 800}}, "
    "{name: farthest, site: south, model: llama-3-8b, device: l40s, replicas: 1, engine: {num_kv_blocks: 800}}]}"
)
POLICIES = ("round_robin", "least_outstanding", "least_loaded")


def study_of(folder: Path, *overrides: str) -> Study:
    """Return the small study with ``overrides``."""
    run_small(folder, "workload.count=1")
    return load_study(folder / "study.yaml", overrides)


def test_delays_by_hand(tmp_path: Path) -> None:
    """The links of a pool are those of the network at a site, and of the fastest routes there and back."""
    fleet = study_of(tmp_path, FAR).fleet
    half = MS // 2
    assert link_delays(fleet) == [
        LinkDelays(half, half),
        LinkDelays(30 * MS + half, 30 * MS + half),
        LinkDelays(35 * MS + half, 50 * MS + half),
    ]
    assert [sentence.partition(" leads")[0] for sentence in site_warnings(fleet)] == [
        "fleet.sites.routes: 'west -> south'",
        "fleet.sites.routes: 'south -> east'",
    ]


def test_links_of_a_site_are_in_every_latency(tmp_path: Path) -> None:
    """What one request of one token takes is longer by the way there and back, exactly."""
    one = ("workload.count=1", "workload.lengths.output={kind: fixed, value: 1}")
    near = run_small(tmp_path, *one)
    sites = "fleet.sites={router: a, routes: [{between: a -> b, latency_ms: 40}, {between: b -> a, latency_ms: 7}]}"
    far = run_small(tmp_path, *one, sites, "fleet.pools.0.site=b")
    times = [pq.read_table(run.directory / "requests.parquet").to_pylist()[0] for run in (near, far)]
    assert times[1]["scheduled_s"] - times[0]["scheduled_s"] == pytest.approx(0.040, abs=1e-9)
    assert times[1]["ttft_s"] - times[0]["ttft_s"] == pytest.approx(0.047, abs=1e-9)


@pytest.mark.parametrize("policy", POLICIES)
def test_placement_and_fast_forwarding_change_nothing(tmp_path: Path, policy: str) -> None:
    """Rows, counters and series are those of the inline executor in groups that answer in random order.

    The law of Little holds with links that differ.
    """
    result = run_small(tmp_path, FAR, f"router.policy={policy}")
    assert all(check["holds"] for check in result.summary["checks"].values())
    assert result.summary["checks"]["little"]["relative_error"] < 1e-12
    study = load_study(tmp_path / "study.yaml", [FAR, f"router.policy={policy}"])
    expected = evidence_of(InlineExecutor(), make_plan(study).simulation())
    single = load_study(tmp_path / "study.yaml", [FAR, f"router.policy={policy}", "run.macro_steps=false"])
    assert evidence_of(InlineExecutor(), make_plan(single).simulation()) == expected
    for placement in ([[0, 2], [1, 3]], [[3], [1, 0], [2]], [[0], [1], [2], [3]]):
        executor = InMemoryExecutor(placement, Random(1).randrange)
        assert evidence_of(executor, make_plan(study).simulation()) == expected


def test_the_example_study_is_equal_everywhere() -> None:
    """Two models on three types of GPU at two sites give the same rows in any placement and in single steps."""
    conf = Path(__file__).resolve().parents[2] / "conf/studies/two_sites.yaml"
    fewer = ["workload.parts.0.count=150", "workload.parts.1.count=50"]
    study = load_study(conf, fewer)
    expected = evidence_of(InlineExecutor(), make_plan(study).simulation())
    single = load_study(conf, [*fewer, "run.macro_steps=false"])
    assert evidence_of(InlineExecutor(), make_plan(single).simulation()) == expected
    for placement in ([[0, 3, 5], [1, 6], [2, 4]], [[index] for index in range(7)]):
        executor = InMemoryExecutor(placement, Random(3).randrange)
        assert evidence_of(executor, make_plan(study).simulation()) == expected


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["fleet.pools.0.site=b"], r"^fleet.pools.0.site: 'b' is the site of a pool, but the fleet has no sites"),
        (
            ["fleet.pools.0.site=wst", "fleet.sites={router: east, routes: [{between: east - west, latency_ms: 3}]}"],
            r"^fleet.pools.0.site: no route leads from the router's site 'east' to 'wst'; did you mean 'west'",
        ),
        (["fleet.pools.0.site=b", "fleet.sites={router: a}"], r"to 'b'; give one .* \{between: a - b, latency_ms: 30"),
    ],
)
def test_sites_without_a_route_are_refused(tmp_path: Path, overrides: list[str], message: str) -> None:
    """The message begins with the key of the pool."""
    with pytest.raises(InputError, match=message):
        make_plan(study_of(tmp_path, *overrides))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fleet.sites={router: a, routes: [{between: a b, latency_ms: 3}]}", "routes.0.between: must be 'a - b'"),
        ("fleet.sites={router: a, routes: [{between: a - b, latency_ms: -3}]}", "latency_ms: must be at least 0"),
        (
            "fleet.sites={router: a, routes: [{between: a - b, latency_ms: 3}, {between: b -> a, latency_ms: 2}]}",
            "routes give the way from b to a twice",
        ),
        ("fleet.pools.0.role=decoder", "fleet.pools.0.role: must be one of both, prefill, decode"),
        ("fleet.pools.0.labels={tier: 3}", "fleet.pools.0.labels.tier: must be text; got 3: put it in quotes"),
        ('fleet.pools.0.labels={tier: "a b"}', "fleet.pools.0.labels: 'tier': a label's value has at most 63 letters"),
        ("fleet.pools.0.labels={Up.case/tier: x}", "before the slash must be a DNS name in lower case"),
    ],
)
def test_wrong_words_are_refused(tmp_path: Path, override: str, message: str) -> None:
    """Sites, roles and labels of another form are refused with their key."""
    with pytest.raises(InputError, match=message):
        study_of(tmp_path, override)


def test_policies_see_what_pools_are(tmp_path: Path) -> None:
    """Candidates have the role, labels, site, limits and price of their pools, in the order of the replicas."""
    labels = "{llm-d.ai/engine: vllm, empty: ''}"
    study = study_of(tmp_path, FAR, "fleet.pools.1.role=decode", f"fleet.pools.1.labels={labels}")
    simulation = make_plan(study).simulation()
    members = simulation.build_routes()[""].policy.candidates.members
    assert [(member.replica, member.pool, member.role, member.site) for member in members] == [
        (0, "near", "", "east"),
        (1, "far", "decode", "west"),
        (2, "far", "decode", "west"),
        (3, "farthest", "", "south"),
    ]
    assert members[1].labels == {"llm-d.ai/engine": "vllm", "empty": ""}
    assert (members[0].kv_blocks, members[0].block_size, members[0].usd_per_hour) == (799, 16, 2.99)
