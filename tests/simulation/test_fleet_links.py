"""Links of a fleet by its description."""

from pathlib import Path

import pytest

from cluster_sim.config.loading.load import load_study
from cluster_sim.errors import InputError
from cluster_sim.hardware.interconnect.transfer_path import Place
from cluster_sim.hardware.link_library import link_names, load_link
from cluster_sim.simulation.fleet_links import link_warnings
from cluster_sim.simulation.plan import Plan, make_plan
from tests.small_run import run_small

TWO = (
    "fleet.pools=[{name: a, model: llama-3-8b, device: h100-sxm, node: {nic: infiniband-hdr, nics_per_gpu: 2}}, "
    "{name: b, model: llama-3-8b, device: h100-sxm, tensor_parallel: 2, replicas: 3}]"
)


def plan_of(folder: Path, *overrides: str) -> Plan:
    """Return the plan of the small study with ``overrides``."""
    run_small(folder, "workload.count=1")
    return make_plan(load_study(folder / "study.yaml", overrides))


@pytest.mark.parametrize("name", link_names())
def test_links_load(name: str) -> None:
    """Every link of the library has its name and a source."""
    link = load_link(name)
    assert link.name == name
    assert link.source


def test_paths_by_the_description(tmp_path: Path) -> None:
    """Network cards by name count per GPU; the device's network stands in for what is not said."""
    links = plan_of(tmp_path, TWO).simulation().links
    path = links.path(Place(0, 0, 0), Place(3, 1, 2))
    assert path is not None
    assert [(shared.link, shared.bytes_per_s) for shared in path.links] == [
        (("out", 0), 50_000_000_000),
        (("in", 3), 100_000_000_000),
    ]
    assert path.latency_ns == 10_000


def test_one_way_links_are_warned_of(tmp_path: Path) -> None:
    """A link of two pools in one direction leaves the other to the network."""
    plan = plan_of(tmp_path, TWO, "fleet.links=[{between: a -> b, link: nvlink-4}]")
    (warning,) = link_warnings(plan.study.fleet)
    assert warning.startswith("fleet.links: 'a -> b' leads one way only, so transfers from b to a take the network")
    there, back = plan.links.path(Place(0, 0, 0), Place(1, 1, 0)), plan.links.path(Place(1, 1, 0), Place(0, 0, 0))
    assert there is not None
    assert back is not None
    assert there.links[0].bytes_per_s == 450_000_000_000
    assert back.links[1].bytes_per_s == 50_000_000_000
    assert link_warnings(plan_of(tmp_path, TWO, "fleet.links=[{between: a - b, link: nvlink-4}]").study.fleet) == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["fleet.links=[{between: a - c, link: nvlink-4}]"], r"^fleet.links.0.between: there is no pool 'c'.*a, b"),
        (
            ["fleet.links=[{between: a - b, link: nvlink-4}, {between: b -> a, link: pcie-5}]"],
            r"^fleet.links: the way from b to a is given twice",
        ),
        (["fleet.links=[{between: a - b, link: nvlink}]"], r"fleet.links.0.link: unknown name 'nvlink'.*nvlink-4"),
        (["fleet.pools.0.node={nic: nvlink-4}"], r"^fleet.pools.0.node.nic: nvlink-4 is a link inside nodes"),
        (["fleet.pools.0.node={nic: nvlink-9}"], r"fleet.pools.0.node.nic: unknown name 'nvlink-9'"),
        (["fleet.pools.0.node={gpu_links: ring}"], r"node.gpu_links: must be one of all_to_all, pairs, none"),
        (
            ["fleet.pools.0.device=l40s", "fleet.pools.0.node={gpu_links: pairs}"],
            r"^fleet.pools.0.node.gpu_links: l40s",
        ),
    ],
)
def test_wrong_links_are_refused(tmp_path: Path, overrides: list[str], message: str) -> None:
    """The message begins with the key and says what is possible."""
    with pytest.raises(InputError, match=message):
        plan_of(tmp_path, TWO, *overrides)
