"""The binary of the compiled kernel: whether it is there, and was made of these sources for this Python and CPU."""

import hashlib
import importlib
import json
import platform
import sysconfig
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from cluster_sim.kernel.modules import MODULES
from cluster_sim.kernel.names import KERNEL, PROJECT

_GROUP: Final = "cluster_sim.kernel.modules"
"""Says which modules are compiled."""
STAMP: Final = "stamp.json"
"""Beside the binary: what it was made of and for."""
HOW_TO_BUILD: Final = "`make kernel` in a checkout builds it where there is a C compiler"


def stamp_of(sources: Path, modules: Iterable[str] = MODULES) -> dict[str, Any]:
    """Return what a binary made now of the sources in a folder would be stamped with.

    ``modules`` are those that are compiled and those that they import, whose constants are compiled in.
    """
    return {
        "abi": sysconfig.get_config_var("EXT_SUFFIX"),
        "cpu": platform.machine(),
        "sources": {module: digest_of(sources / f"{module.replace('.', '/')}.py") for module in (*modules, _GROUP)},
    }


def digest_of(path: Path) -> str:
    """Return the hash of one source; "" if it is not there."""
    return "" if not path.is_file() else hashlib.sha256(path.read_bytes()).hexdigest()


def seal_of(stamp: dict[str, Any]) -> str:
    """Return the hash of a stamp, which is compiled into the binary."""
    return hashlib.sha256(json.dumps(stamp, sort_keys=True).encode()).hexdigest()


@cache
def fault() -> str:
    """Return why no binary can be used, worded as the end of a sentence; "" if one can."""
    spec = find_spec(KERNEL)
    if spec is None or not spec.submodule_search_locations:
        return f"there is none here; {HOW_TO_BUILD}"
    folder = Path(next(iter(spec.submodule_search_locations)))
    try:
        found = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        differs = difference(found, stamp_of(Path(__file__).resolve().parents[2], {*MODULES, *found["sources"]}))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        return f"{folder} cannot be read: {error}; {HOW_TO_BUILD}"
    if differs:
        return f"{folder} {differs}; {HOW_TO_BUILD}"
    try:
        seal = importlib.import_module(f"{KERNEL}.seal").SEAL
    except ImportError as error:
        return f"{folder} cannot be loaded: {error}; {HOW_TO_BUILD}"
    return "" if seal == seal_of(found) else f"{folder} is made of parts of several builds; {HOW_TO_BUILD}"


def difference(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """Return in which way a stamp is not the wanted one; "" if it is."""
    if found["cpu"] != wanted["cpu"]:
        return f"was made for another CPU ({found['cpu']}, not {wanted['cpu']})"
    if found["abi"] != wanted["abi"]:
        return f"was made for another Python ({found['abi']}, not {wanted['abi']})"
    for module, digest in wanted["sources"].items():
        if found["sources"].get(module) != digest:
            return f"was made of other sources: {module.removeprefix(f'{PROJECT}.')} has changed"
    if found["sources"].keys() != wanted["sources"].keys():
        return "was made of other sources"
    return ""
