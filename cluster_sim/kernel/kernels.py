"""The kernels that a run's replicas can be made of: the sources as they are, or compiled; both give equal bytes."""

import importlib
import os
from typing import Any, Final, Literal

from cluster_sim.errors import InputError
from cluster_sim.kernel import binary
from cluster_sim.kernel.names import PROJECT, kernel_name
from cluster_sim.kernel.transplant import Transplant

KernelName = Literal["auto", "python", "compiled"]
VARIABLE: Final = "CLUSTER_SIM_KERNEL"
"""Environment variable that says what ``auto`` is: ``python`` leaves a compiled kernel alone."""


class UnfitKernelError(InputError):
    """The compiled kernel was asked for, and a node has none that fits."""


class Kernel:
    """The sources as they are."""

    name = "python"

    def __init__(self, reason: str = "") -> None:
        """``reason`` says why it is not the compiled one, if nobody has asked for it."""
        self.reason = reason

    def part(self, module: str, name: str) -> Any:
        """Return a class or function of a source."""
        return getattr(importlib.import_module(f"{PROJECT}.{module}"), name)

    def of(self, value: Any) -> Any:
        """Return what stands for an object that the run's plan has made."""
        return value

    def copies(self) -> list[tuple[Any, Any]]:
        """Return (original, copy) of all for which something else stands."""
        return []

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """Build it anew in another process."""
        return Kernel, (self.reason,)


class CompiledKernel(Kernel):
    """The compiled sources."""

    name = "compiled"

    def __init__(self, *, is_required: bool = False) -> None:
        """``is_required``: the study names it, so a process that lacks it fails instead of running in Python."""
        super().__init__()
        self._is_required = is_required
        self._transplant = Transplant()

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        """Build it anew in another process, whose node may lack it."""
        return _built, (self._is_required,)

    def part(self, module: str, name: str) -> Any:
        """Return the compiled class or function."""
        return getattr(importlib.import_module(kernel_name(f"{PROJECT}.{module}")), name)

    def of(self, value: Any) -> Any:
        """Return the object's copy of compiled classes; raise NotCompiledError where one is not compiled."""
        return self._transplant.of(value)

    def copies(self) -> list[tuple[Any, Any]]:
        """Return (original, copy) of all for which something else stands."""
        return self._transplant.copies()


PYTHON: Final = Kernel()


def _built(is_required: bool) -> Kernel:
    fault = binary.fault()
    if fault and is_required:
        raise _refusal(fault)
    return Kernel(fault) if fault else CompiledKernel(is_required=is_required)


def _refusal(fault: str) -> UnfitKernelError:
    return UnfitKernelError(f"run.kernel: compiled asks for the compiled kernel, but {fault}; or leave run.kernel out")


def wants_compiled(name: KernelName) -> bool:
    """Return whether a run should use the compiled kernel; raise InputError if it must and cannot."""
    if name == "python" or (name == "auto" and os.environ.get(VARIABLE) == "python"):
        return False
    fault = binary.fault()
    if fault and name == "compiled":
        raise _refusal(fault)
    return not fault


def described() -> str:
    """Return which kernel is here, for ``--version``."""
    fault = binary.fault()
    return f"kernel: Python; of a compiled one {fault}" if fault else "kernel: Python and compiled"
