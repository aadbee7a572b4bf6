"""Choice of the kernel that a run's replicas are made of: compiled where it is there, fits, and has all they need."""

from collections.abc import Iterable

from cluster_sim.errors import InputError
from cluster_sim.kernel import binary
from cluster_sim.kernel.kernels import CompiledKernel, Kernel, KernelName, wants_compiled
from cluster_sim.simulation.simulation import SimulatedPool


def choose_kernel(name: KernelName, pools: Iterable[SimulatedPool]) -> Kernel:
    """Return the kernel that a study names; raise InputError if it names the compiled one and that cannot be."""
    if not wants_compiled(name):
        return Kernel(binary.fault() if name == "auto" else "")
    kernel = CompiledKernel(is_required=name == "compiled")
    for pool in pools:
        try:
            kernel.of(pool.predictor)
            kernel.of(pool.scheduler)()
        except LookupError as error:
            reason = f"pool {pool.name!r} cannot do with the compiled kernel: {error.args[0]}"
            if name == "compiled":
                raise InputError(f"run.kernel: {reason}; leave run.kernel out, and it runs in Python") from error
            return Kernel(reason)
    return kernel
