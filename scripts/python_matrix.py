"""The quick tests on every Python that the package supports: ``python scripts/python_matrix.py``, or ``make matrix``.

Interpreters are looked for on the path, in pyenv and among those of uv; a version that is not there is skipped and
named.  Each has an environment of its own with the tested versions of all packages, in ``build/python-VERSION``.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
VERSIONS: Final = ("3.11", "3.12", "3.13")
PLACES: Final = (".pyenv/versions/{version}*/bin/python3", ".local/share/uv/python/cpython-{version}*/bin/python3")
"""Below the home directory: where interpreters lie that are not on the path."""
QUICK: Final = ("-m", "not ray and not acceptance", "-n", "2", "--dist", "loadfile", "-q", "-p", "no:cacheprovider")


def main() -> int:
    """Test on each version; return 1 if any test fails, or no version is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", nargs="+", default=VERSIONS, metavar="VERSION")
    parser.add_argument("tests", nargs="*", default=["tests"], help="files or folders of tests, all by default")
    options = parser.parse_args()
    results = {version: _tested(version, options.tests) for version in options.versions}
    for version, result in results.items():
        print(f"Python {version}: {result}")
    ended = [result for result in results.values() if not result.startswith("skipped")]
    return int(not ended or any(result != "passed" for result in ended))


def interpreter(version: str) -> Path | None:
    """Return an interpreter of a version that starts; None if there is none."""
    return next((path for path in _candidates(version) if _version_of(path) == version), None)


def _candidates(version: str) -> Iterator[Path]:
    found = shutil.which(f"python{version}")
    if found is not None:
        yield Path(found)
    for place in PLACES:
        yield from sorted(Path.home().glob(place.format(version=version)), reverse=True)


def _version_of(path: Path) -> str:
    """Return the version of an interpreter; empty if it does not start, as a name that pyenv has not switched on."""
    words = "import sys; print('{}.{}'.format(*sys.version_info))"
    return subprocess.run([path, "-c", words], capture_output=True, text=True, check=False).stdout.strip()


def _tested(version: str, tests: Sequence[str]) -> str:
    """Return how the quick tests ended on a version."""
    python = interpreter(version)
    if python is None:
        return "skipped, there is no such interpreter"
    environment = ROOT / "build" / f"python-{version}"
    own = environment / "bin" / "python"
    if not own.exists():
        subprocess.run([python, "-m", "venv", environment], check=True)
    install = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", "constraints.txt")
    subprocess.run([own, *install, "--editable", ".[dev]"], cwd=ROOT, check=True)
    print(f"Python {version}: {python}", flush=True)
    ended = subprocess.run([own, "-m", "pytest", *QUICK, *tests], cwd=ROOT, env=dict(os.environ), check=False)
    return "passed" if ended.returncode == 0 else f"failed, pytest ended with {ended.returncode}"


if __name__ == "__main__":
    sys.exit(main())
