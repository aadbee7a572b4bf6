"""Rules of the source that no linter knows: layers, where Ray may be imported, sizes, what tests say."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

LAYERS = (
    "kernel",
    "snapshot",
    "workload",
    "hardware",
    "engine",
    "recording",
    "serving",
    "routing",
    "metrics",
    "config",
    "output",
    "simulation",
    "calibration",
    "study",
    "report",
    "deployment",
    "api",
    "cli",
)
"""A package imports those before it, and every one the modules beside them."""

SERVING_FOLDERS = ("lives", "handover", "fast_forward", "kv_cache", "queue_orders", "schedulers")
"""A folder of serving/ imports those before it; the modules beside them stand below, between or above, in no ring."""

HARDWARE_FOLDERS = (
    "interconnect",
    "layers",
    "model_config",
    "model_config/families",
    "",
    "predictors",
    "predictors/kinds",
    "profiling",
)
"""The modules of a folder of hardware/ import those of the folders before it; "" are the modules beside the folders."""

PURE = ("engine", "serving", "routing", "recording")
"""Packages that do no I/O, read no clock and log nothing."""

IMPURE_MODULES = frozenset({"time", "logging", "socket", "threading", "subprocess", "random", "ray", "asyncio"})

MAX_LINES = 500

INDIRECT_QUESTIONS = frozenset({"What", "Which", "Where", "Who", "Whose", "How", "Why", "When", "Whether"})

NAMED_MODULE = re.compile(r"(?<![\w./*{}])(?P<name>(?:\w+/)*\w+\.py)\b(?:::(?P<test>\w+))?")
SETTINGS = ("Makefile", "Dockerfile", "pyproject.toml", "docker-compose.yml", "mkdocs.yml")
FOREIGN = ("vllm/", "python/sglang/")
"""Folders of the programs that are modelled."""

LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#]+)(?:#[^)]*)?\)")


@cache
def nodes(path: Path) -> tuple[ast.AST, ...]:
    """Return every node of a file's syntax tree."""
    return tuple(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def imports(path: Path) -> Iterator[str]:
    """Yield the full names of the modules that a file imports, lazy imports included."""
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@cache
def functions(path: Path) -> frozenset[str]:
    """Return the names of a module's functions."""
    return frozenset(node.name for node in nodes(path) if isinstance(node, ast.FunctionDef))


def pages(checkout: Path) -> list[Path]:
    """Return the pages for readers, the changelog apart: it names what is gone."""
    return [checkout / "README.md", checkout / "CONTRIBUTING.md", *sorted((checkout / "docs").rglob("*.md"))]


def sources(checkout: Path, *folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (checkout / folder).rglob("*.py"))


def test_packages_import_only_upwards(checkout: Path) -> None:
    """A package imports itself, the packages above it and the modules beside them, never a package below."""
    foundation = {path.stem for path in (checkout / "cluster_sim").glob("*.py")}
    wrong = []
    for layer, name in enumerate(("", *LAYERS)):
        paths = sources(checkout, f"cluster_sim/{name}") if name else (checkout / "cluster_sim").glob("*.py")
        allowed = foundation | set(LAYERS[:layer])
        for path in paths:
            if path.name == "__main__.py" or (not name and path.name == "__init__.py"):
                continue  # The ways in: they import what they hand on.
            for module in imports(path):
                root, _, rest = module.partition(".")
                package = rest.split(".")[0]
                if root == "cluster_sim" and package and package not in allowed:
                    wrong.append(f"{path.relative_to(checkout)} imports {module}")
    assert wrong == []


def test_serving_has_no_ring(checkout: Path) -> None:
    """Modules and folders of serving/ import each other in one direction, and the folders in their order."""
    package = checkout / "cluster_sim/serving"
    prefix = "cluster_sim.serving."
    graph: dict[str, set[str]] = {}
    for path in sources(checkout, "cluster_sim/serving"):
        part = path.relative_to(package).parts[0].removesuffix(".py")
        imported = {module.removeprefix(prefix).split(".")[0] for module in imports(path) if module.startswith(prefix)}
        graph.setdefault(part, set()).update(imported - {part})
    order = list(TopologicalSorter(graph).static_order())  # Raises CycleError if there is a ring.
    folders = [part for part in order if (package / part).is_dir()]
    assert set(folders) <= set(SERVING_FOLDERS)
    for folder in folders:
        assert not graph[folder] & set(SERVING_FOLDERS[SERVING_FOLDERS.index(folder) + 1 :])


def test_folders_of_hardware_import_only_upwards(checkout: Path) -> None:
    """Layers and files know no model, models no predictor, predictors no kind of them, and none of these profiling."""
    package = checkout / "cluster_sim/hardware"
    allowed: set[str] = set()
    wrong = []
    for folder in HARDWARE_FOLDERS:
        paths = sorted((package / folder).glob("*.py"))
        allowed |= {".".join(path.relative_to(checkout).with_suffix("").parts) for path in paths}
        for path in paths:
            mine = {module for module in imports(path) if module.startswith("cluster_sim.hardware")}
            wrong += [f"{path.relative_to(checkout)} imports {module}" for module in sorted(mine - allowed)]
    assert wrong == []
    assert {".".join(path.relative_to(checkout).with_suffix("").parts) for path in package.rglob("*.py")} == allowed


def test_ray_stays_in_actors(checkout: Path) -> None:
    """Ray is imported in actors/ only, and actors/ by the launcher only."""
    wrong = []
    for path in sources(checkout, "cluster_sim"):
        for module in imports(path):
            is_launcher = path.relative_to(checkout) == Path("cluster_sim/simulation/launcher.py")
            if module.split(".")[0] == "ray" or (module.split(".")[0] == "actors" and not is_launcher):
                wrong.append(f"{path.relative_to(checkout)} imports {module}")
    assert wrong == []


def test_the_model_is_pure(checkout: Path) -> None:
    """The model imports nothing that does I/O or reads a clock, and never prints."""
    wrong = []
    for path in sources(checkout, *(f"cluster_sim/{name}" for name in PURE)):
        wrong += [
            f"{path.relative_to(checkout)} imports {m}" for m in imports(path) if m.split(".")[0] in IMPURE_MODULES
        ]
        for node in nodes(path):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("print", "hash", "open")
            ):
                wrong.append(f"{path.relative_to(checkout)}:{node.lineno} calls {node.func.id}()")
    assert wrong == []


def test_modules_are_small(checkout: Path) -> None:
    """No module has more than 500 lines."""
    long = {
        str(path.relative_to(checkout)): lines
        for path in sources(checkout, "cluster_sim", "actors", "validation", "scripts", "tests")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_LINES
    }
    assert long == {}


def test_titles_are_noun_phrases(checkout: Path) -> None:
    """No module's docstring starts with the word of an indirect question."""
    found = [
        f"{path.relative_to(checkout)}: {title.splitlines()[0]}"
        for path in sources(checkout, "cluster_sim", "actors", "validation", "scripts", "tests")
        if (title := ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))))
        and title.split()[0].strip(":,") in INDIRECT_QUESTIONS
    ]
    assert found == []


def test_modules_named_in_text_exist(checkout: Path) -> None:
    """Every module that a page or a settings file names, with or without its folder, exists, and so does a test in it.

    In source files only names with a folder count: names without may be those of the program that is modelled.
    """
    everything = sources(checkout, "cluster_sim", "actors", "validation", "scripts", "tests")
    modules: dict[str, list[Path]] = {}
    for path in everything:
        parts = path.relative_to(checkout).parts
        for first in range(len(parts)):
            modules.setdefault("/".join(parts[first:]), []).append(path)
    settings = [path for path in checkout.iterdir() if path.name in SETTINGS]
    settings += sorted((checkout / "conf").rglob("*.y*ml"))
    missing = []
    for path in [*pages(checkout), *settings, *everything]:
        text = path.read_text(encoding="utf-8")
        for match in NAMED_MODULE.finditer(text):
            name, test = match["name"], match["test"]
            if name.startswith(FOREIGN) or (path.suffix == ".py" and "/" not in name):
                continue
            found = modules.get(name, [])
            if not found or (test and not any(test in functions(module) for module in found)):
                missing.append(f"{path.relative_to(checkout)}: {match[0]}")
    assert not missing, "\n".join(missing)


def test_links_of_pages_lead_somewhere(checkout: Path) -> None:
    """Every relative link of a page leads to a file or folder."""
    broken = [
        f"{path.relative_to(checkout)}: {link}"
        for path in [*pages(checkout), checkout / "CHANGELOG.md"]
        for link in LINK.findall(path.read_text(encoding="utf-8"))
        if not (path.parent / link).exists()
    ]
    assert not broken, "\n".join(broken)


def test_the_glossary_is_short(checkout: Path) -> None:
    """The glossary lists only terms that mean something special here: it has at most 40 lines."""
    assert len((checkout / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()) <= 40


def test_every_test_says_what_must_hold(checkout: Path) -> None:
    """Every test function has a docstring."""
    silent = [
        f"{path.relative_to(checkout)}::{node.name}"
        for path in sources(checkout, "tests")
        for node in nodes(path)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert silent == []


def test_nothing_is_left_undone(checkout: Path) -> None:
    """No file says that something is still to be done."""
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    found = [
        f"{path.relative_to(checkout)}: {mark}"
        for path in sources(checkout, "cluster_sim", "actors", "validation", "scripts", "tests")
        for mark in marks
        if mark in path.read_text(encoding="utf-8")
    ]
    assert found == []


def test_imports_are_declared(checkout: Path) -> None:
    """What the packages import is Python's own or a dependency in pyproject.toml, and each of those is used."""
    project = tomllib.loads((checkout / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    required = {re.split(r"[<>=\[]", text)[0] for text in project["dependencies"]}
    optional = {re.split(r"[<>=\[]", text)[0] for name, extra in extras.items() if name != "dev" for text in extra}
    names = {
        "prometheus_client": "prometheus-client",
        "yaml": "pyyaml",
        "zmq": "pyzmq",
        "sklearn": "scikit-learn",
        "pydantic_core": "pydantic",
        "aiconfigurator_core": "aiconfigurator-core",
    }
    imported = {module.split(".")[0] for path in sources(checkout, "cluster_sim", "actors") for module in imports(path)}
    foreign = {names.get(name, name) for name in imported - sys.stdlib_module_names - {"cluster_sim", "actors"}}
    assert foreign <= required | optional
    assert required <= foreign
