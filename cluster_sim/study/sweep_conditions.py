"""Conditions of a sweep: comparisons of the values of its keys, and nothing else that Python could do."""

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from cluster_sim.errors import InputError
from cluster_sim.suggestion import suggestion

_KEY: Final = re.compile(r"""("[^"]*"|'[^']*')|(?<![\w.])[A-Za-z_]\w*(?:\.\w+)*""")
"""A quoted text, which is left as it is, or a dotted key."""
_WORDS: Final = frozenset({"and", "or", "not", "in", "True", "False", "None", "true", "false", "null"})
_CONSTANTS: Final = {"true": "True", "false": "False", "null": "None"}
_OPERATORS: Final[Mapping[type, Callable[[Any, Any], Any]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda value, values: value in values,
    ast.NotIn: lambda value, values: value not in values,
}


class Condition:
    """One condition."""

    def __init__(self, text: str, keys: Sequence[str], where: str) -> None:
        """``where`` is the condition's own key; raises InputError, which begins with it, for what is no condition."""
        self._text, self._where = text, where
        self._keys: list[str] = []
        expression = _KEY.sub(lambda found: self._name(found, keys), text)
        try:
            self._tree = ast.parse(expression.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise InputError(f"{where}: {text!r} is no condition; for example 'fleet.pools.0.replicas <= 8'") from error
        self._check(self._tree)

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Return whether the values of a run fulfil it; keys without a value count as None.

        Raises InputError for values that cannot be compared.
        """
        try:
            return bool(self._value(self._tree, values))
        except (TypeError, ZeroDivisionError, OverflowError) as error:
            shown = ", ".join(f"{key}={values.get(key)!r}" for key in self._keys)
            raise InputError(f"{self._where}: {self._text!r} cannot be decided for {shown}: {error}") from error

    def _name(self, found: "re.Match[str]", keys: Sequence[str]) -> str:
        """Return what stands for a key in the expression."""
        word = found.group()
        if found.group(1) is not None or word in _WORDS:
            return _CONSTANTS.get(word, word)
        if word not in keys:
            raise InputError(
                f"{self._where}: {word!r} is no key of this sweep{suggestion(word, list(keys))}; its keys are "
                f"{', '.join(keys)} (texts need quotation marks)"
            )
        if word not in self._keys:
            self._keys.append(word)
        return f"k{self._keys.index(word)}"

    def _check(self, node: ast.AST) -> None:
        """Raise InputError for anything but the arithmetic and the comparisons that are evaluated."""
        is_known = isinstance(
            node,
            ast.BoolOp | ast.UnaryOp | ast.BinOp | ast.Compare | ast.Constant | ast.Name | ast.List | ast.Tuple,
        )
        is_known |= isinstance(node, ast.And | ast.Or | ast.Not | ast.USub | ast.UAdd | ast.Load)
        if not is_known and type(node) not in _OPERATORS:
            raise InputError(
                f"{self._where}: {self._text!r} has more than numbers, texts, keys, + - * / // %, comparisons, in, "
                "and, or, not and parentheses"
            )
        for child in ast.iter_child_nodes(node):
            self._check(child)

    def _value(self, node: ast.expr, values: Mapping[str, Any]) -> Any:
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return values.get(self._keys[int(name[1:])])
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self._value(item, values) for item in items]
            case ast.BoolOp(op=ast.And(), values=parts):
                return all(self._value(part, values) for part in parts)
            case ast.BoolOp(values=parts):
                return any(self._value(part, values) for part in parts)
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return not self._value(operand, values)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._value(operand, values)
            case ast.UnaryOp(operand=operand):
                return self._value(operand, values)
            case ast.BinOp(left=left, op=sign, right=right):
                first, second = self._value(left, values), self._value(right, values)
                if not (isinstance(first, int | float) and isinstance(second, int | float)):
                    raise TypeError(f"{first!r} and {second!r} are not two numbers")
                return _OPERATORS[type(sign)](first, second)
        assert isinstance(node, ast.Compare)
        sides = [self._value(side, values) for side in (node.left, *node.comparators)]
        pairs = zip(node.ops, sides[:-1], sides[1:], strict=True)
        return all(_OPERATORS[type(sign)](left, right) for sign, left, right in pairs)
