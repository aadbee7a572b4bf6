"""A package outside the project that adds parts by entry points, and the command run where it is installed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import cluster_sim

CHECKOUT = Path(cluster_sim.__file__).parent.parent
PAGE = CHECKOUT / "docs" / "extend.md"

STUDY = """\
name: outside
workload:
  kind: synthetic
  count: 60
  arrivals: {kind: poisson, request_rate: 20}
  lengths: {prompt: {kind: uniform, min: 10, max: 4000}, output: {kind: uniform, min: 1, max: 20}}
fleet:
  pools: [{model: llama-3-8b, device: h100-sxm, replicas: 3}]
"""


def recipe(name: str) -> str:
    """Return the block of Python with this name from the page about extending the simulator."""
    found = re.search(rf"```python {name}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"{PAGE.name} has no recipe {name!r}"
    return found.group(1)


def install(site: Path, module: str, source: str, *groups: str) -> None:
    """Put a package of one module into ``site``, as an installer would, with an entry point in each group."""
    site.mkdir(exist_ok=True)
    (site / f"{module}.py").write_text(source, encoding="utf-8")
    metadata = site / f"{module}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: 1.0\n")
    points = "".join(f"[{group}]\n{module} = {module}\n" for group in groups)
    (metadata / "entry_points.txt").write_text(points)


def run_command(site: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run ``cluster-sim`` in a process of its own that finds the packages in ``site``."""
    return run_python(site, "-m", "cluster_sim", *arguments)


def run_python(site: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own that finds the packages in ``site``."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(site), str(CHECKOUT)))},
        capture_output=True,
        text=True,
        check=False,
    )


def run_study(folder: Path, site: Path, *overrides: str, study: str = STUDY) -> Path:
    """Run a study, changed by ``overrides``, where the packages in ``site`` are installed; return its run directory."""
    file = folder / "study.yaml"
    file.write_text(study, encoding="utf-8")
    out = folder / "run"
    changes = [part for override in overrides for part in ("--set", override)]
    done = run_command(site, "run", file, "--executor", "inline", "--out", out, *changes)
    assert done.returncode == 0, done.stderr
    return out
