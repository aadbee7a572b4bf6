"""The commented study that ``init`` writes: every option, its meaning and its default, made from the schema."""

import json
from collections.abc import Iterator
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from cluster_sim.config.schema.study import Study
from cluster_sim.schema_inspection import Choice, choices_of, words_of

EXAMPLE: Final[dict[str, Any]] = {
    "name": "my-study",
    "workload": {
        "kind": "synthetic",
        "arrivals": {"kind": "poisson", "request_rate": 10.0},
        "lengths": {
            "prompt": {"kind": "lognormal", "mean": 1155.0, "std": 1109.0, "min": 1, "max": 7000},
            "output": {"kind": "lognormal", "mean": 211.0, "std": 163.0, "min": 1, "max": 1000},
        },
        "count": 2000,
    },
    "fleet": {"pools": [{"model": "llama-3-8b", "device": "h100-sxm", "replicas": 4}]},
    "slo": {"ttft_p99_s": 2.0, "tpot_p99_s": 0.1},
}
"""Values of the template that have no default, or whose default would make a dull study."""

HEADER: Final = """\
# A cluster_sim study.  Every option stands here with its default; delete what you do not change.
#   cluster-sim validate FILE   checks it and prints every resolved value and the memory plan
#   cluster-sim run FILE        runs it; --set key.path=value changes one value
"""


def study_template() -> str:
    """Return the text of a study that validates and shows every option."""
    lines = _Writer().block(Choice(Study), EXAMPLE, "")
    return HEADER + "".join(f"{line}\n" for line in lines)


class _Writer:
    """Writes blocks; the alternatives to a part of an axis are explained at their first place."""

    def __init__(self) -> None:
        self._explained: set[type[BaseModel]] = set()

    def block(self, choice: Choice, given: dict[str, Any], indent: str) -> Iterator[str]:
        """Yield the lines of one block; ``given`` holds the example's values."""
        fields = choice.model.model_fields
        if choice.name is not None:
            yield f"{indent}{choice.tag}: {choice.name}  # {choice.summary}"
        for name, field in fields.items():
            if name == choice.tag:
                continue
            if indent == "":
                yield ""
            value = given.get(name, PydanticUndefined)
            if value is PydanticUndefined:
                value = field.get_default(call_default_factory=True)
            yield f"{indent}# {_comment(field)}"
            yield from self._option(name, field, value, indent)

    def _option(self, name: str, field: FieldInfo, value: Any, indent: str) -> Iterator[str]:
        """Yield one option with its value; an option without example or default stays a comment."""
        if value is PydanticUndefined:
            yield f"{indent}# {name}:"
            return
        choices = choices_of(field.annotation)
        chosen = next((choice for choice in choices if choice.fits(value)), None)
        if isinstance(value, BaseModel):
            value = value.model_dump(exclude_unset=True)
        if isinstance(value, dict) and chosen:
            yield f"{indent}{name}:"
            yield from self.block(chosen, value, indent + "  ")
            yield from self._alternatives(chosen, choices, indent + "  ")
        elif isinstance(value, list) and chosen:
            yield f"{indent}{name}:"
            for item in value:
                first, *rest = self.block(chosen, item, indent + "    ")
                yield f"{indent}  - {first.strip()}"
                yield from rest
        else:
            yield f"{indent}{name}: {json.dumps(value)}"

    def _alternatives(self, chosen: Choice, choices: list[Choice], indent: str) -> Iterator[str]:
        """Yield, as comments, the options of other parts that a block may take instead of the one written out."""
        for choice in choices:
            if choice is chosen or choice.name is None or choice.model in self._explained:
                continue
            self._explained.add(choice.model)
            yield f"{indent}#"
            yield f"{indent}# Or {choice.tag}: {choice.name}  # {choice.summary}"
            shared = _shared(choice, chosen)
            if shared:
                yield f"{indent}#   as above: {', '.join(shared)}"
            for name, field in choice.model.model_fields.items():
                if name != choice.tag and name not in shared:
                    default = field.get_default(call_default_factory=True)
                    is_shown = default is not PydanticUndefined and not isinstance(default, BaseModel)
                    yield f"{indent}#   {name}:{' ' + json.dumps(default) if is_shown else ''}  # {_comment(field)}"


def _shared(choice: Choice, other: Choice) -> list[str]:
    """Return the options of a choice that another has too, with the same default and meaning."""
    others = other.model.model_fields
    return [
        name
        for name, field in choice.model.model_fields.items()
        if name != choice.tag and name in others and repr(others[name]) == repr(field)
    ]


def _comment(field: FieldInfo) -> str:
    words = ", ".join(str(word) for word in words_of(field.annotation))
    return f"{field.description} One of: {words}." if "," in words else str(field.description)
