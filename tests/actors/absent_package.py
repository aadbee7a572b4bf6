"""A package and a compiled kernel that only the driver has."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from cluster_sim.kernel.kernels import UnfitKernelError

SOURCE = '''
class Part:
    """Something of a study."""
'''


@contextmanager
def absent_part() -> Iterator[Any]:
    """Return an object that is pickled as one of a class in the module ``absent_parts.policies``."""
    module, package = ModuleType("absent_parts.policies"), ModuleType("absent_parts")
    package.policies = module  # type: ignore[attr-defined]
    sys.modules |= {"absent_parts": package, "absent_parts.policies": module}
    exec(SOURCE, module.__dict__)
    try:
        yield module.Part()
    finally:
        del sys.modules["absent_parts"], sys.modules["absent_parts.policies"]


class LackedKernel:
    """A kernel that cannot be read where it is sent."""

    def __reduce__(self) -> tuple[Any, ...]:
        return lacking, ()


def lacking(*_: Any) -> None:
    """Fail as a kernel does that a study names, and the node lacks."""
    raise UnfitKernelError("run.kernel: compiled asks for the compiled kernel, but there is none here")
