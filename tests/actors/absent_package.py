"""A package that only the driver has."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

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
