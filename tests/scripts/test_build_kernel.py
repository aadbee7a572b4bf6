"""Build of the compiled step loop: when it is made, and what is said where it is not."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture
def script(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script, which takes an empty folder for the checkout, and finds all that a build needs."""
    monkeypatch.syspath_prepend(str(checkout / "scripts"))
    import build_kernel

    monkeypatch.setattr(build_kernel, "ROOT", tmp_path)
    monkeypatch.setattr(build_kernel, "what_is_missing", lambda: "")
    monkeypatch.setattr(build_kernel, "imported_modules", set[str])
    monkeypatch.setattr(build_kernel, "fault", lambda: "")
    monkeypatch.delenv(build_kernel.VARIABLE)
    yield build_kernel
    sys.modules.pop("build_kernel")
    sys.modules.pop("kernel_copy")


@pytest.fixture
def builds(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The stamps of the builds that were made."""
    made: list[Any] = []
    monkeypatch.setattr(script, "build", lambda *arguments: made.append(arguments[1]))
    return made


def run(script: ModuleType, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    """Run the script; return its exit code."""
    monkeypatch.setattr(sys, "argv", ["build_kernel.py", *options])
    try:
        script.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_only_other_sources_are_compiled(
    script: ModuleType, builds: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package with the stamp of these sources is left alone; one of others, or that cannot be loaded, is not."""
    assert run(script, monkeypatch) == 0
    (tmp_path / script.KERNEL).mkdir()
    path = tmp_path / script.KERNEL / script.STAMP
    path.write_text(json.dumps(builds[0]))
    assert (run(script, monkeypatch), len(builds)) == (0, 1)
    path.write_text(json.dumps(builds[0] | {"abi": "another"}))
    assert (run(script, monkeypatch), len(builds)) == (0, 2)
    path.write_text(json.dumps(builds[0]))
    monkeypatch.setattr(script, "fault", lambda: "cannot be loaded")
    assert (run(script, monkeypatch), len(builds)) == (0, 3)


def test_a_build_is_no_must(
    script: ModuleType, builds: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where something is missing it is named; that is a failure only where a build was asked for."""
    monkeypatch.setattr(script, "what_is_missing", lambda: "there is no C compiler (gcc)")
    assert run(script, monkeypatch, "--if-possible") == 0
    assert run(script, monkeypatch) == 1
    assert capsys.readouterr().err == "no compiled kernel: there is no C compiler (gcc)\n" * 2
    assert builds == []


def test_who_wants_python_waits_for_no_build(
    script: ModuleType, builds: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With CLUSTER_SIM_KERNEL=python nothing is compiled on the way to something else."""
    monkeypatch.setenv(script.VARIABLE, "python")
    assert (run(script, monkeypatch, "--if-possible"), builds) == (0, [])
    assert (run(script, monkeypatch), len(builds)) == (0, 1)


def test_a_failed_step_says_why(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Output of a step is shown if it fails, and then the exit code is 1, wherever a build was asked for."""

    def fail(*_: Any) -> None:
        script.run([sys.executable, "-c", "print('no such type'); raise SystemExit(3)"], tmp_path)

    monkeypatch.setattr(script, "build", fail)
    assert run(script, monkeypatch, "--if-possible") == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("no such type\n")
    assert "returned non-zero exit status 3" in shown.err


def test_what_is_missing_is_named(script: ModuleType, checkout: Path) -> None:
    """A compiler, and the headers of Python."""
    words = "import sys; sys.path.insert(0, 'scripts'); import build_kernel; {}; print(build_kernel.what_is_missing())"

    def missing(change: str) -> str:
        command = [sys.executable, "-c", words.format(change)]
        return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout.strip()

    assert missing("build_kernel.shutil.which = lambda name: None").startswith("there is no C compiler (")
    change = "build_kernel.shutil.which = str; build_kernel.sysconfig.get_path = lambda name: '/nowhere'"
    assert missing(change) == "there are no headers of Python in /nowhere"
