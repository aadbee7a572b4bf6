"""Equality of a study's results in every executor of this process."""

from dataclasses import replace
from random import Random

from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.simulation import Simulation
from tests.engine.in_memory import InMemoryExecutor
from tests.evidence import Evidence, outcome_of


def _simulation(study: Study) -> Simulation:
    return replace(make_plan(study).simulation(), keeps_rows=True)


def equal_everywhere(study: Study, seed: int = 1, placements: int = 3) -> Evidence:
    """Assert that a study finishes, with the same rows, counters and series everywhere; return them."""
    outcome = outcome_everywhere(study, seed, placements)
    assert isinstance(outcome, Evidence), outcome
    return outcome


def outcome_everywhere(study: Study, seed: int = 1, placements: int = 3) -> Evidence | str:
    """Assert that rows, counters and series of a study are the same inline, in single steps, one replica a group, and
    in random groups that answer with random delays; return them, or the words with which it gives up in each.
    """
    expected = outcome_of(InlineExecutor(), _simulation(study))
    single = study.model_copy(update={"run": study.run.model_copy(update={"macro_steps": False})})
    assert outcome_of(InlineExecutor(), _simulation(single)) == expected
    random, replicas = Random(seed), sum(pool.replicas for pool in study.fleet.pools)
    alone = [[index] for index in range(replicas)]
    assert outcome_of(InlineExecutor(alone), _simulation(study)) == expected
    for _ in range(placements):
        groups: list[list[int]] = [[] for _ in range(random.randint(1, min(replicas, 3)))]
        for index in random.sample(range(replicas), replicas):
            groups[random.randrange(len(groups))].append(index)
        placement = [group for group in groups if group]
        executor = InMemoryExecutor(placement, random.randrange)
        assert outcome_of(executor, _simulation(study)) == expected, f"differs in groups {placement}"
    return expected
