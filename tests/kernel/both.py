"""Both kernels in one process: simulations of each, and the skip where there is only one."""

from dataclasses import replace

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.kernel import binary
from cluster_sim.kernel.kernels import CompiledKernel, Kernel
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.plan import make_plan
from cluster_sim.simulation.simulation import Simulation
from tests.evidence import evidence_of

needs_binary = pytest.mark.skipif(bool(binary.fault()), reason=f"no compiled kernel: {binary.fault()}")


def simulation_of(study: Study, *, is_compiled: bool) -> Simulation:
    """Return the simulation of a study by one of the kernels."""
    kernel = CompiledKernel() if is_compiled else Kernel()
    return replace(make_plan(study).simulation(), keeps_rows=True, kernel=kernel)


def assert_equal(study: Study) -> None:
    """Assert that rows, counters and series of a study are the same by both kernels, and in single steps."""
    expected = evidence_of(InlineExecutor(), simulation_of(study, is_compiled=False))
    assert evidence_of(InlineExecutor(), simulation_of(study, is_compiled=True)) == expected
    single = study.model_copy(update={"run": study.run.model_copy(update={"macro_steps": False})})
    assert evidence_of(InlineExecutor(), simulation_of(single, is_compiled=True)) == expected
