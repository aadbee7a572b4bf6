"""Reading the files of the library: YAML or JSON mappings, checked against their schema."""

import json
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from cluster_sim.errors import InputError

ModelT = TypeVar("ModelT", bound=BaseModel)
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's safe loader where PyYAML was built with it: ten times as fast."""


def load_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML or JSON mapping; InputError with file and line when it is not one."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    try:
        data = json.loads(text) if path.suffix == ".json" else yaml.load(text, Loader=_LOADER)  # noqa: S506 - safe, or its C twin
    except json.JSONDecodeError as error:
        raise InputError(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark is not None else ""
        raise InputError(f"{path}{line}: not valid YAML: {getattr(error, 'problem', error)}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: must be a mapping of keys to values, not {type(data).__name__}")
    return data


def validated(kind: type[ModelT], data: dict[str, Any], path: Path) -> ModelT:
    """Build ``kind`` from ``data``; InputError naming the file and every wrong key."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc']) or 'file'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise InputError(f"{path}: {problems}") from None
