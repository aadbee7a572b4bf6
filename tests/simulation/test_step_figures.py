"""Figures of a pool's steps against a predictor that is a straight line."""

from cluster_sim.routing.candidates import StepFigures
from cluster_sim.simulation.step_figures import step_figures
from tests.engine.small_fleet import SmallFleet, plan_of, simulation_of


def test_a_straight_line_is_found_again() -> None:
    """1,000 us a step, 10 us a token and 0.01 us a cached token: a request of 1,024 cached tokens adds 20.24 us."""
    predictor = {"kind": "linear", "alpha_us": 1000.0, "beta_us": 10.0, "gamma_us": 0.01}
    small = SmallFleet(arrivals=((0, 1, 1),), predictor=predictor)
    pool = simulation_of(small, plan_of(small)).pools[0]
    figures = step_figures(pool.predictor, pool.limits)
    assert figures is not None
    assert round(figures.step_ns) == 1_000_000
    assert round(figures.request_ns) == 20_240
    assert round(figures.token_ns) == 10_000 + round(1_000_000 / 512)
    assert isinstance(figures, StepFigures)


def test_plain_pools_have_none() -> None:
    """Nobody works them out for a policy that does not ask."""
    small = SmallFleet(arrivals=((0, 1, 1),))
    assert simulation_of(small).pools[0].candidate(0).step_figures is None
