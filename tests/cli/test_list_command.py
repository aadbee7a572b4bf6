"""The ``list`` command: every name with one line, and what cannot be loaded."""

from pathlib import Path

import pytest

from cluster_sim.cli.list_command import Topic
from cluster_sim.conf_directory import library_names
from cluster_sim.config.schema.axes import AXES
from cluster_sim.hardware.device import device_names
from cluster_sim.hardware.model import model_names
from cluster_sim.study.listing import TOPICS
from tests.cli.command import Command
from tests.outside_package import install, run_command


def test_every_axis_has_a_word() -> None:
    """Each axis of extension can be listed, and each topic has something to list."""
    assert set(TOPICS.values()) == {axis.group for axis in AXES}
    assert set(TOPICS) | {"devices", "links", "models", "profiles"} == set(Topic)


@pytest.mark.parametrize("topic", Topic)
def test_one_line_each(command: Command, topic: Topic) -> None:
    """Every name is there with a line about it, and nothing else."""
    code, text, _ = command("list", topic)
    assert code == 0
    lines = [line.split("  ", 1) for line in text.splitlines()]
    if topic in TOPICS:
        names = next(axis for axis in AXES if axis.group == TOPICS[topic]).names()
    else:
        library = {
            "devices": device_names,
            "links": lambda: library_names("links"),
            "models": model_names,
            "profiles": lambda: library_names("profiles"),
        }
        names = library[topic]()
    assert [name.strip() for name, *_ in lines] == names
    assert all(len(line) == 2 and line[1].strip() for line in lines)


def test_figures_of_a_device(command: Command) -> None:
    """A device is told by its memory, its rates, its power and its price."""
    line = next(line for line in command("list", "devices")[1].splitlines() if line.startswith("h100-sxm "))
    assert line.split("  ")[-1].strip() == (
        "NVIDIA H100 SXM5 80GB HBM3: 79 GiB, 3.35 TB/s, 989 TFLOP/s in bf16, 700 W, 2.99 USD/h"
    )


def test_broken_entry_points_are_named(tmp_path: Path) -> None:
    """A package whose part cannot be loaded is named with the error; every other part is listed."""
    install(tmp_path, "broken_policy", "raise RuntimeError('half built')", "cluster_sim.routing_policies")
    done = run_command(tmp_path, "list", "policies")
    assert done.returncode == 0
    assert "round_robin" in done.stdout
    assert "the package broken-policy cannot be loaded (RuntimeError: half built)" in done.stdout.splitlines()[-1]


def test_unknown_topic(command: Command) -> None:
    """A word that is no topic is wrong usage, and the message has those that are."""
    code, _, error = command("list", "gpus")
    assert code == 2
    assert "'devices'" in error
