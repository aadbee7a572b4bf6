"""Random runs by their seeds: a study, how it is placed, and what is killed when."""

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import yaml

from cluster_sim.config.loading.load import load_study
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.simulation.plan import make_plan
from tests.fleet.drawn_fleets import draw_study

KINDS = ("group", "group", "group", "stage", "stage", "router", "driver", "node")
"""What is killed, as often as it stands here."""
RUN_S = 8.0
"""Wall time that an undisturbed run is paced to."""


@dataclass(frozen=True)
class Kill:
    """One kill: what, and how long after the run goes on, or goes on again."""

    kind: str
    delay_s: float


@dataclass(frozen=True)
class DrawnRun:
    """A run that is disturbed."""

    seed: int
    study: Path
    actors: tuple[int, ...]
    """Number of group actors of each life of the driver, in turn; 0 resumes inline."""
    stages: str
    kills: tuple[Kill, ...]


def draw_run(seed: int, folder: Path, most_kills: int = 5) -> DrawnRun:
    """Draw the run of a seed, and write its study to ``folder``."""
    random = Random(seed)
    parts, is_staged = _draw_parts(random, folder)
    kinds = [kind for kind in KINDS if is_staged or kind != "stage"]
    kills = tuple(
        Kill(random.choice(kinds), random.choice((0.0, random.uniform(0, 2), random.uniform(1, 7))))
        for _ in range(random.randint(2, most_kills))
    )
    actors = (random.randint(2, 3), *(random.choice((0, 1, 2, 3)) for _ in kills))
    study = folder / "study.yaml"
    study.write_text(yaml.safe_dump(parts, sort_keys=False), encoding="utf-8")
    return DrawnRun(seed, study, actors, "actors" if is_staged else "fused", kills)


def _draw_parts(random: Random, folder: Path) -> tuple[dict[str, Any], bool]:
    """Return a study that is right, and whether all of its replicas have two stages."""
    while True:
        parts = draw_study(random)
        parts["run"]["snapshot_interval_s"] = 1.0
        for depth in random.choice(((1,), (2, 1))):
            for pool in parts["fleet"]["pools"]:
                pool["pipeline_parallel"] = depth
            if _study_of(parts, folder) is not None:
                return parts, depth > 1


def _study_of(parts: dict[str, Any], folder: Path) -> Study | None:
    path = folder / "drawn.yaml"
    path.write_text(yaml.safe_dump(parts), encoding="utf-8")
    try:
        study = load_study(path, [])
        make_plan(study)
    except InputError:
        return None
    finally:
        path.unlink()
    return study
