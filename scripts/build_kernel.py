"""Compile the step loop: ``python scripts/build_kernel.py`` writes the package cluster_sim_kernel beside the sources.

It takes a C compiler, the headers of Python, and mypy with setuptools, which are among the packages for development.
Nothing is done if the package is there already, made of the same sources for this Python; ``--if-possible`` does
nothing, and says so, where something is missing, and is silent where ``CLUSTER_SIM_KERNEL=python`` leaves the package
alone.  What is compiled is a copy of the sources (``kernel_copy.py``), and
without any choice of instructions, so that every CPU of this architecture runs it and computes the same.
"""

import argparse
import ast
import fcntl
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
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from kernel_copy import Copy  # noqa: E402 - the packages stand beside this folder

from cluster_sim.kernel.binary import STAMP, fault, seal_of, stamp_of  # noqa: E402
from cluster_sim.kernel.kernels import VARIABLE  # noqa: E402
from cluster_sim.kernel.modules import MODULES  # noqa: E402
from cluster_sim.kernel.names import KERNEL, PROJECT  # noqa: E402

FLAGS = ("-fPIC", "-fwrapv", "-ffp-contract=off", "-fvisibility=hidden", "-w", "-DNDEBUG")
"""Nothing is contracted: one rounding an operation, as in Python."""
MYPY = """[mypy]
plugins = pydantic.mypy
ignore_missing_imports = True
disable_error_code = arg-type, assignment, attr-defined, list-item, misc, no-any-return, override, return-value,
    type-var
[mypy-cluster_sim,ray.*]
follow_imports = skip
"""
"""The sources are checked on their own; what is disabled are classes that stay in the sources, which stand for others
there.  Types of the package itself are its Python interface, which imports all that the group does not need."""
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


OTHER_INIT: Final = re.compile(r"^PyMODINIT_FUNC PyInit___init__\(void\).*\n", re.MULTILINE)
"""In every shim; of use on another operating system."""


def main() -> None:
    """Build the kernel, unless it is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--optimisation", default="1", help="gcc's -O (default 1; 2 takes twice the time)")
    parser.add_argument("--if-possible", action="store_true", help="do nothing where something is missing")
    options = parser.parse_args()
    if options.if_possible and os.environ.get(VARIABLE) == "python":
        return
    missing = what_is_missing()
    folder = ROOT / "build" / "kernel"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # Whoever waited for another build finds it made.
        stamp = stamp_of(ROOT, sorted({*MODULES, *imported_modules()}))
        if is_built(stamp):
            return
        if missing:
            print(f"no compiled kernel: {missing}", file=sys.stderr)
            sys.exit(0 if options.if_possible else 1)
        try:
            build(folder, stamp, options.optimisation)
        except subprocess.CalledProcessError as error:
            print(error.stdout or "", error, sep="\n", file=sys.stderr)
            sys.exit(1)


def build(folder: Path, stamp: dict[str, Any], optimisation: str) -> None:
    """Make the package; the parts that are in ``folder`` from an earlier build and still right are used again."""
    print("compiling the step loop, once for these sources: takes 1 to 4 minutes", flush=True)
    since = time.monotonic()
    generate(folder, write_copies(folder, seal_of(stamp)))
    install(compile_parts(folder, optimisation), json.dumps(stamp, indent=1))
    print(f"compiled in {time.monotonic() - since:.0f} s")


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
    """Return whether the package is there, can be loaded, and was made of these sources for this Python."""
    try:
        return bool(json.loads((ROOT / KERNEL / STAMP).read_text(encoding="utf-8")) == stamp) and not fault()
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
    texts.append(f'from typing import Any, Final\n\nSEAL: Final = "{seal}"\n')
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
    run([sys.executable, "-c", GENERATE], folder, environment)
    for path in (folder / "build").rglob("*.c"):
        text = path.read_text(encoding="utf-8")
        called = IDLE_INIT.sub(lambda match: CALLED_INIT.format(match[1]), text)
        if called != text:
            path.write_text(called, encoding="utf-8")


def run(command: list[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    """Run a step of the build; what it prints goes with the CalledProcessError, and is of no use if it succeeds."""
    subprocess.run(
        command, cwd=folder, env=environment, check=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def compile_parts(folder: Path, optimisation: str) -> dict[str, Path]:
    """Compile and link every extension module, on all cores; return its file by its name."""
    parts = json.loads((folder / "parts.json").read_text(encoding="utf-8"))
    (folder / "objects").mkdir(exist_ok=True)
    headers = b"".join(path.read_bytes() for path in sorted((folder / "build").rglob("*.h")))
    (main,) = (part for part in parts if part["name"] == f"{KERNEL}__mypyc")
    shims = merged_shims(folder, {part["name"]: part["sources"][0] for part in parts if part is not main})
    folders = dict.fromkeys([sysconfig.get_path("include"), *main["folders"]])
    flags = [f"-O{optimisation}", *FLAGS, *(f"-I{path}" for path in folders)]
    sources = sorted([*main["sources"], *shims], key=lambda name: (folder / name).stat().st_size, reverse=True)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        made = pool.map(lambda source: compile_one(folder, source, flags, headers), sources)
        objects = dict(zip(sources, made, strict=True))
    for path in {*(folder / "objects").iterdir()} - {*objects.values()}:
        path.unlink()
    libraries = {main["name"]: link(folder, main["name"], [objects[source] for source in main["sources"]])}
    for source, names in shims.items():
        libraries |= dict.fromkeys(names, link(folder, Path(source).stem, [objects[source]]))
    return libraries


def merged_shims(folder: Path, sources: dict[str, str]) -> dict[str, list[str]]:
    """Merge the sources of the shims, the extension modules that only call the large one, into as few as the names of
    their functions allow; return the modules' names by file.

    A function is named by the last part of its module's name, so any file with that function can be the module.
    """
    merged: dict[str, list[str]] = {}
    seen: Counter[str] = Counter()
    for name in sorted(sources):
        last = name.rpartition(".")[2]
        merged.setdefault(f"build/shims_{seen[last]}.c", []).append(name)
        seen[last] += 1
    for path, names in merged.items():
        texts = [OTHER_INIT.sub("", (folder / sources[name]).read_text(encoding="utf-8")) for name in names]
        (folder / path).write_text("\n".join(texts), encoding="utf-8")
    return merged


def compile_one(folder: Path, source: str, flags: list[str], headers: bytes) -> Path:
    """Compile one file, unless it was compiled as it is; return the object file."""
    text = (folder / source).read_bytes()
    digest = hashlib.sha256(b"".join([headers, " ".join(flags).encode(), text])).hexdigest()[:16]
    target = folder / "objects" / f"{Path(source).stem}-{digest}.o"
    if not target.exists():
        compiler = shlex.split(sysconfig.get_config_var("CC"))
        run([*compiler, *flags, "-c", source, "-o", f"{target}.part"], folder)
        Path(f"{target}.part").rename(target)
    return target


def link(folder: Path, name: str, objects: list[Path]) -> Path:
    """Link one extension module; return its file."""
    linker = shlex.split(sysconfig.get_config_var("LDSHARED"))
    library = folder / "objects" / f"{name}.so"
    run([*linker, *map(str, objects), "-o", str(library)], folder)
    return library


def install(libraries: dict[str, Path], stamp: str) -> None:
    """Put the libraries beside the sources, the stamp last."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    shutil.rmtree(ROOT / KERNEL, ignore_errors=True)
    for name, library in libraries.items():
        target = ROOT / f"{name.replace('.', '/')}{suffix}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(library, f"{target}.part")
        Path(f"{target}.part").replace(target)  # A process that has loaded the old one keeps it.
    (ROOT / KERNEL / "__init__.py").write_text('"""The step loop of cluster_sim, compiled."""\n', encoding="utf-8")
    (ROOT / KERNEL / STAMP).write_text(stamp, encoding="utf-8")
    importlib.invalidate_caches()


if __name__ == "__main__":
    main()
