"""Copy of a source that the compiler of the step loop takes: imports inside the group renamed, and what the compiler
refuses rewritten.

- ``__slots__`` go: compiled classes have none.  Every class may be made without its ``__init__``, for snapshots.
- Decorators that register a class go, and where the text asks a registry for a class, it gets that of the kernel.
- What both kernels share (options, enumerations, results that leave a replica, registries, and what only the type
  checker does not see) is imported from the source.
- A dictionary in a class body that names methods of the class moves behind it.
- ``FastForwardScheduler``, a second base, becomes a trait; an abstract ``__init__`` an ordinary one.
- A type that names itself, in quotes, knows no more of itself than that it is an object.
"""

import ast
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cluster_sim.kernel.names import KERNEL, PROJECT

TRAITS: Final = {"FastForwardScheduler"}
SHARED: Final = {"Coverage"}
"""Results of a replica, which leave its process."""
SHARED_BASES: Final = {"ConfigModel", "Enum", "IntEnum", "StrEnum", "IntFlag"}
"""Classes with one of these bases, or with one whose name ends in ``Options``, are shared."""
NEEDED: Final = (
    "from typing import TYPE_CHECKING as _TYPE_CHECKING",
    "if _TYPE_CHECKING:",
    "    from mypy_extensions import mypyc_attr as _mypyc_attr, trait as _trait",
    "from typing import Any as _Any",
)
COUNTERPART: Final = "from cluster_sim.kernel.names import counterpart as _counterpart"


class Copy:
    """The copy of one module."""

    def __init__(self, root: Path, module: str, group: Sequence[str]) -> None:
        """``group`` names all modules that are compiled together."""
        self._module = module
        self._group = frozenset(group)
        self._text = (root / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        self._lines = self._text.splitlines()
        self._tree = ast.parse(self._text)
        self._edits: list[tuple[int, int, list[str]]] = []
        """(first line, line behind the last, what takes their place), counted from 0."""

    def rewritten(self) -> str:
        """Return the text for the compiler."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.ImportFrom):
                self._rename(node)
        self._sum_lists()
        self._import_what_is_needed()
        for node in self._tree.body:
            if isinstance(node, ast.ClassDef):
                self._rewrite_class(node)
            elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and node.orelse:
                self._share(node, *(_target(item) for item in node.orelse))
            elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
                self._rewrite_constant(node, node.value)
        lines = list(self._lines)
        for first, behind, text in sorted(self._edits, reverse=True):
            lines[first:behind] = text
        return "\n".join(lines) + "\n"

    def _replace(self, node: ast.stmt | ast.expr, text: list[str]) -> None:
        first = min([node.lineno, *(item.lineno for item in getattr(node, "decorator_list", ()))]) - 1
        assert node.end_lineno is not None
        self._edits.append((first, node.end_lineno, text))

    def _share(self, node: ast.stmt, *names: str) -> None:
        self._replace(node, [f"from {self._module} import {name}" for name in names])

    def _rename(self, node: ast.ImportFrom) -> None:
        """Import from the kernel what is in the group."""
        module = node.module or ""
        if module.partition(".")[0] != PROJECT:
            return
        parts: dict[str, list[str]] = {}
        for name in node.names:
            is_ours = module in self._group or f"{module}.{name.name}" in self._group
            package = KERNEL if is_ours else PROJECT
            parts.setdefault(f"{package}{module.removeprefix(PROJECT)}", []).append(ast.unparse(name))
        indent = " " * node.col_offset
        self._replace(node, [f"{indent}from {source} import {', '.join(names)}" for source, names in parts.items()])

    def _sum_lists(self) -> None:
        """Sum a list in place of a generator, for which the compiler would write a loop of its own: Python's ``sum``
        rounds otherwise, and may begin with an integer and end with a float.
        """
        brackets: list[tuple[int, int, bytes]] = []
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "sum":
                items = node.args[0]
                if isinstance(items, ast.GeneratorExp):
                    assert items.end_lineno is not None
                    assert items.end_col_offset is not None
                    brackets.append((items.lineno - 1, items.col_offset + 1, b"["))
                    brackets.append((items.end_lineno - 1, items.end_col_offset - 1, b"]"))
        for line, column, bracket in sorted(brackets, reverse=True):
            text = self._lines[line].encode()
            self._lines[line] = (text[:column] + bracket + text[column:]).decode()

    def _import_what_is_needed(self) -> None:
        imported = [*NEEDED]
        for node in ast.walk(self._tree):
            if isinstance(node, ast.Attribute) and node.attr == "part":
                text = ast.unparse(node)
                self._lines[node.lineno - 1] = self._lines[node.lineno - 1].replace(text, f"_counterpart({text})")
                imported.append(COUNTERPART)
        imports = [node.end_lineno for node in self._tree.body if isinstance(node, ast.ImportFrom | ast.Import)]
        last = max((line for line in imports if line is not None), default=1)
        self._edits.append((last, last, list(dict.fromkeys(imported))))

    def _rewrite_constant(self, node: ast.Assign | ast.AnnAssign, value: ast.expr) -> None:
        if isinstance(value, ast.Call) and ast.unparse(value.func).startswith("Registry"):
            self._share(node, _target(node))
        elif isinstance(value, ast.Subscript) and ast.unparse(value.value) == "tuple":
            quoted = [item for item in ast.walk(value.slice) if isinstance(item, ast.Constant)]
            text = ast.unparse(node)
            for item in quoted:
                text = text.replace(ast.unparse(item), "object")
            if quoted:
                self._replace(node, [text])

    def _rewrite_class(self, node: ast.ClassDef) -> None:
        bases = {ast.unparse(base).partition("[")[0] for base in node.bases}
        if node.name in SHARED or bases & SHARED_BASES or any(base.endswith("Options") for base in bases):
            self._share(node, node.name)
            return
        for decorator in node.decorator_list:
            if ast.unparse(decorator).partition("(")[0].endswith(".register"):
                self._replace(decorator, [])
        first, line = node.lineno - 1, self._lines[node.lineno - 1]
        if node.name in TRAITS:
            self._edits.append((first, first + 1, ["@_trait", line.replace("(ABC)", "")]))
        elif "NamedTuple" in bases:
            self._widen_fields(node)
        elif "Protocol" not in bases:
            self._edits.append((first, first + 1, ["@_mypyc_attr(serializable=True)", line]))
        methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
        for item in node.body:
            if not isinstance(item, ast.Assign | ast.AnnAssign):
                continue
            if _target(item) == "__slots__":
                self._replace(item, ["    pass"] if len(node.body) == 1 else [])
            elif isinstance(item.value, ast.Dict) and any(ast.unparse(entry) in methods for entry in item.value.values):
                self._move_behind(node, item, item.value, frozenset(methods))
        if "__init__" in methods:
            for decorator in methods["__init__"].decorator_list:
                self._replace(decorator, [])

    def _widen_fields(self, node: ast.ClassDef) -> None:
        """Write ``Any`` for ``object``: the compiled body of a named tuple does not find built-in types."""
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and ast.unparse(item.annotation) == "object":
                line = item.lineno - 1
                self._edits.append((line, line + 1, [self._lines[line].replace(": object", ": _Any")]))

    def _move_behind(
        self, node: ast.ClassDef, item: ast.Assign | ast.AnnAssign, value: ast.Dict, methods: frozenset[str]
    ) -> None:
        """Make a dictionary of a class, which names its methods, one of the module."""
        name = f"{node.name}{_target(item)}"
        entries = []
        for key, entry in zip(value.keys, value.values, strict=True):
            assert key is not None
            text = ast.unparse(entry)
            entries.append(f"    {ast.unparse(key)}: {f'{node.name}.{text}' if text in methods else text},")
        self._replace(item, [])
        assert node.end_lineno is not None
        behind = ["", "", f"{name}: dict[_Any, _Any] = {{", *entries, "}"]
        self._edits.append((node.end_lineno, node.end_lineno, behind))
        for number in range(node.lineno - 1, node.end_lineno):
            old = f"self.{_target(item)}"
            if old in self._lines[number]:
                self._edits.append((number, number + 1, [self._lines[number].replace(old, name)]))


def _target(node: ast.stmt) -> str:
    assert isinstance(node, ast.Assign | ast.AnnAssign), ast.unparse(node)
    return ast.unparse(node.targets[0] if isinstance(node, ast.Assign) else node.target)
