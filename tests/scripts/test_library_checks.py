"""The check scripts of the library: they pass on what is shipped and fail on what is wrong."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def script(checkout: Path, name: str) -> ModuleType:
    """Load a script as a module."""
    spec = importlib.util.spec_from_file_location(name, checkout / "scripts" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def test_parameter_counts(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every model of the library agrees with its published count."""
    assert script(checkout, "check_models").main() == 0
    assert "all within 1 %" in capsys.readouterr().out


def test_kv_blocks(checkout: Path, shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Predicted KV blocks of the engines left out are within 2 % on average; a wrong folder is refused."""
    module = script(checkout, "check_kv_blocks")
    assert module.main([str(shared / "ground-truth")]) == 0
    assert "with each engine left out" in capsys.readouterr().out
    assert module.main(["/nonexistent"]) == 2
