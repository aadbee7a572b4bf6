"""Compile the step loop: ``python scripts/build_kernel.py`` writes the package cluster_sim_kernel beside the sources.

It takes a C compiler, the headers of Python, and mypy with setuptools, which are among the packages for development.
Nothing is done if the package is there already, made of the same sources for this Python; ``--if-possible`` does
nothing, and says so, where something is missing.  What is compiled is a copy of the sources (``kernel_copy.py``), and
without any choice of instructions, so that every CPU of this architecture runs it and computes the same.
"""

import argparse
import ast
import hashlib
import importlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Final

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from kernel_copy import Copy  # noqa: E402 - the packages stand beside this folder

from cluster_sim.kernel.binary import STAMP, seal_of, stamp_of  # noqa: E402
from cluster_sim.kernel.modules import MODULES  # noqa: E402
from cluster_sim.kernel.names import KERNEL, PROJECT  # noqa: E402

FLAGS = ("-fPIC", "-fwrapv", "-ffp-contract=off", "-w", "-DNDEBUG")
"""Nothing is contracted: one rounding an operation, as in Python."""
MYPY = """[mypy]
plugins = pydantic.mypy
ignore_missing_imports = True
disable_error_code = arg-type, assignment, attr-defined, list-item, misc, no-any-return, override, return-value,
    type-var
[mypy-ray.*]
follow_imports = skip
"""
"""The sources are checked on their own; what is disabled are classes that stay in the sources, which stand for others
there."""
GENERATE = """
import json, sys
from mypyc.build import mypycify
parts = mypycify(
    ["--config-file", "mypy.ini", *json.load(open("paths.json"))],
    opt_level="0", debug_level="0", group_name="cluster_sim_kernel", multi_file=True,
)
described = [{"name": part.name, "sources": part.sources, "folders": part.include_dirs} for part in parts]
json.dump(described, open("parts.json", "w"))
"""


IDLE_INIT: Final = re.compile(
    r"static int\n(\w+)_init\(PyObject \*self, PyObject \*args, PyObject \*kwds\)\n\{\n    return 0;\n\}"
)
"""What mypyc 2.4 makes of the ``__init__`` of a serializable class that is called from outside: nothing."""
CALLED_INIT: Final = """PyObject *CPyPy_{0}_____init__(PyObject *self, PyObject *args, PyObject *kwds);
static int
{0}_init(PyObject *self, PyObject *args, PyObject *kwds)
{{
    PyObject *done = CPyPy_{0}_____init__(self, args, kwds);
    Py_XDECREF(done);
    return done != NULL ? 0 : -1;
}}"""


def main() -> None:
    """Build the kernel, unless it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimisation", default="2", help="gcc's -O (default 2; 1 takes half the time)")
    parser.add_argument("--if-possible", action="store_true", help="do nothing where something is missing")
    options = parser.parse_args()
    stamp = stamp_of(ROOT, sorted({*MODULES, *imported_modules()}))
    if is_built(stamp):
        return
    missing = what_is_missing()
    if missing:
        print(f"no compiled kernel: {missing}", file=sys.stderr)
        sys.exit(0 if options.if_possible else 1)
    print("compiling the step loop", flush=True)
    folder = ROOT / "build" / "kernel"
    folder.mkdir(parents=True, exist_ok=True)
    generate(folder, write_copies(folder, seal_of(stamp)))
    install(compile_parts(folder, options.optimisation), json.dumps(stamp, indent=1))


def imported_modules() -> set[str]:
    """Return the modules of the project that those of the group import: constants of theirs are compiled in."""
    found = set()
    for module in MODULES:
        for node in ast.walk(ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                found |= {node.module, *(f"{node.module}.{name.name}" for name in node.names)}
            elif isinstance(node, ast.Import):
                found |= {name.name for name in node.names}
    return {
        name
        for name in found
        if name.partition(".")[0] == PROJECT and (ROOT / f"{name.replace('.', '/')}.py").is_file()
    }


def is_built(stamp: object) -> bool:
    """Return whether the package is there and made of these sources for this Python."""
    try:
        return bool(json.loads((ROOT / KERNEL / STAMP).read_text(encoding="utf-8")) == stamp)
    except (OSError, ValueError):
        return False


def what_is_missing() -> str:
    """Return what a build needs and is not here; "" if nothing."""
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler ({compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return f"there are no headers of Python in {sysconfig.get_path('include')}"
    absent = [name for name in ("mypyc", "setuptools") if find_spec(name) is None]
    return f"{' and '.join(absent)} must be installed" if absent else ""


def write_copies(folder: Path, seal: str) -> list[str]:
    """Write the copies of all modules below ``folder``; return their paths there."""
    paths = [f"{KERNEL}{module.removeprefix(PROJECT).replace('.', '/')}.py" for module in MODULES]
    texts = [Copy(ROOT, module, MODULES).rewritten() for module in MODULES]
    paths.append(f"{KERNEL}/seal.py")
    texts.append(f'from typing import Final\n\nSEAL: Final = "{seal}"\n')
    for path, text in zip(paths, texts, strict=True):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
    for package in {parent for path in paths for parent in Path(path).parents if parent != Path()}:
        (folder / package / "__init__.py").write_text("", encoding="utf-8")
    return paths


def generate(folder: Path, paths: list[str]) -> None:
    """Translate the copies to C."""
    (folder / "mypy.ini").write_text(MYPY, encoding="utf-8")
    (folder / "paths.json").write_text(json.dumps(paths), encoding="utf-8")
    environment = dict(os.environ, MYPYPATH=str(ROOT), PYTHONPATH=str(ROOT))
    subprocess.run([sys.executable, "-c", GENERATE], cwd=folder, env=environment, check=True)
    for path in (folder / "build").rglob("*.c"):
        text = path.read_text(encoding="utf-8")
        called = IDLE_INIT.sub(lambda match: CALLED_INIT.format(match[1]), text)
        if called != text:
            path.write_text(called, encoding="utf-8")


def compile_parts(folder: Path, optimisation: str) -> list[tuple[str, Path]]:
    """Compile and link every extension module; return (its name, its file)."""
    parts = json.loads((folder / "parts.json").read_text(encoding="utf-8"))
    (folder / "objects").mkdir(exist_ok=True)
    headers = b"".join(path.read_bytes() for path in sorted((folder / "build").rglob("*.h")))
    linker = shlex.split(sysconfig.get_config_var("LDSHARED"))
    found = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = {}
        for part in parts:
            folders = dict.fromkeys([sysconfig.get_path("include"), *part["folders"]])
            flags = [f"-O{optimisation}", *FLAGS, *(f"-I{path}" for path in folders)]
            key = hashlib.sha256(headers + " ".join(flags).encode()).digest()
            jobs[part["name"]] = [pool.submit(compile_one, folder, item, flags, key) for item in part["sources"]]
        for name, objects in jobs.items():
            library = folder / "objects" / f"{name}.so"
            subprocess.run([*linker, *(str(job.result()) for job in objects), "-o", str(library)], check=True)
            found.append((name, library))
    return found


def compile_one(folder: Path, source: str, flags: list[str], key: bytes) -> Path:
    """Compile one file, unless it was compiled as it is; return the object file."""
    digest = hashlib.sha256(key + (folder / source).read_bytes()).hexdigest()[:16]
    target = folder / "objects" / f"{Path(source).stem}-{digest}.o"
    if not target.exists():
        compiler = shlex.split(sysconfig.get_config_var("CC"))
        subprocess.run([*compiler, *flags, "-c", source, "-o", f"{target}.part"], cwd=folder, check=True)
        Path(f"{target}.part").rename(target)
    return target


def install(libraries: list[tuple[str, Path]], stamp: str) -> None:
    """Put the libraries beside the sources, the stamp last."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    shutil.rmtree(ROOT / KERNEL, ignore_errors=True)
    for name, library in libraries:
        target = ROOT / f"{name.replace('.', '/')}{suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(library, f"{target}.part")
        Path(f"{target}.part").replace(target)  # A process that has loaded the old one keeps it.
    (ROOT / KERNEL / "__init__.py").write_text('"""The step loop of cluster_sim, compiled."""\n', encoding="utf-8")
    (ROOT / KERNEL / STAMP).write_text(stamp, encoding="utf-8")
    importlib.invalidate_caches()


if __name__ == "__main__":
    main()
