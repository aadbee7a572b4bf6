"""The commented study that ``init`` writes: every option, its meaning and its default, made from the schema."""

import json
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cluster_sim.config.study import Study

EXAMPLE: Final[dict[str, Any]] = {
    "name": "my-study",
    "workload": {
        "kind": "synthetic",
        "arrivals": {"kind": "poisson", "rate_per_s": 10.0},
        "lengths": {
            "prompt": {"kind": "lognormal", "mean_tokens": 1155.0, "cv_ratio": 0.96, "max_tokens": 7000},
            "output": {"kind": "lognormal", "mean_tokens": 211.0, "cv_ratio": 0.77, "max_tokens": 1000},
        },
        "count": 2000,
    },
    "fleet": {"pools": [{"model": "llama-3-8b", "device": "h100-sxm", "replicas": 4}]},
    "slo": {"ttft_p99_s": 2.0, "tpot_p99_s": 0.1},
}
"""What the template says where there is no default, or where the default would make a dull study."""

HEADER: Final = """\
# A cluster_sim study.  Every option stands here with its default; delete what you do not change.
#   cluster-sim validate FILE   checks it and prints the memory plan
#   cluster-sim run FILE        runs it; --set key.path=value changes one value
"""


def study_template() -> str:
    """Return the text of a study that validates and shows every option."""
    return HEADER + "\n" + "\n".join(_mapping(Study, EXAMPLE, "")) + "\n"


def _mapping(model: type[BaseModel], given: dict[str, Any], indent: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if indent == "":
            yield ""
        yield from _option(name, field, given.get(name, PydanticUndefined), indent)


def _option(name: str, field: FieldInfo, given: Any, indent: str) -> Iterator[str]:
    """Yield the comment and the value of one option; an option without example or default stays a comment."""
    models = _models(field.annotation)
    value = field.get_default(call_default_factory=True) if given is PydanticUndefined else given
    yield f"{indent}# {field.description}{_allowed(field)}"
    if value is PydanticUndefined:
        yield f"{indent}# {name}:"
        return
    if isinstance(value, BaseModel):
        models, value = [type(value)], {}
    others = [model for model in models if not _fits(model, value)]
    chosen = [model for model in models if model not in others]
    if isinstance(value, dict) and chosen:
        yield f"{indent}{name}:"
        yield from _mapping(chosen[0], value, indent + "  ")
        for other in others:
            yield f"{indent}  # Or instead:"
            yield from (_commented(line, indent + "  ") for line in _mapping(other, {}, indent + "  "))
    elif isinstance(value, list) and chosen:
        yield f"{indent}{name}:"
        for item in value:
            lines = list(_mapping(chosen[0], item, indent + "    "))
            yield f"{indent}  -"
            yield from lines
    else:
        yield f"{indent}{name}: {json.dumps(value)}"


def _commented(line: str, indent: str) -> str:
    text = line.removeprefix(indent)
    return line if text.startswith("# ") else f"{indent}# {text}"


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models that an annotation may hold, looking through unions, ``Annotated`` and tuples."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) if part is not Ellipsis for model in _models(part)]


def _fits(model: type[BaseModel], value: Any) -> bool:
    """Return whether ``value`` is written for ``model``: its ``kind`` is the model's, where the model has one."""
    if not isinstance(value, dict) or "kind" not in model.model_fields or "kind" not in value:
        return True
    return bool(value["kind"] in get_args(model.model_fields["kind"].annotation))


def _allowed(field: FieldInfo) -> str:
    """Return the allowed words of an option that takes one of several."""
    words = [word for word in _words(field.annotation) if word is not None]
    return f" One of: {', '.join(map(str, words))}." if len(words) > 1 else ""


def _words(annotation: Any) -> list[Any]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return [word for part in get_args(annotation) if part is not NoneType for word in _words(part)]
    return []
