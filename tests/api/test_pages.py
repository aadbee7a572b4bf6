"""Code of the page on the Python interface and of the example notebook."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

_BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)


def test_the_code_of_the_page_runs(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every block of docs/api.md runs, in order, in one namespace."""
    monkeypatch.chdir(tmp_path)
    blocks = _BLOCK.findall((checkout / "docs/api.md").read_text(encoding="utf-8"))
    assert len(blocks) >= 7
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, "docs/api.md", "exec"), names)
    assert names["result"].verdict in ("met", "too close", "missed")
    assert len(names["table"].runs) == 4


def test_the_example_notebook_runs(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cells of the notebook run in order, and what a cell shows last can be shown."""
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((checkout / "docs/examples/first_steps.ipynb").read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    shown = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        body = ast.parse("".join(cell["source"])).body
        last = body.pop() if isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), "notebook", "exec"), names)
        if last is not None:
            assert isinstance(last, ast.Expr)
            shown.append(eval(compile(ast.Expression(last.value), "notebook", "eval"), names))
    assert [hasattr(value, "_repr_html_") for value in shown] == [True, True, True, True, False]
    assert shown[-1] == 2
