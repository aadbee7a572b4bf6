"""The ``engine.policy`` and ``engine.ordering`` keys, and the queue order that they choose.

The block holds the options of every queue order side by side, and each order reads its own: a sweep over policies can
keep one block.
"""

from copy import copy
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import AfterValidator, Field, create_model
from pydantic_core import PydanticCustomError

from cluster_sim.options import ConfigModel
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS
from cluster_sim.suggestion import suggestion


def _registered(policy: str) -> str:
    known = QUEUE_ORDERS.names()
    if policy in known:
        return policy
    raise PydanticCustomError(
        "unknown_entry",
        "must be one of {known}; got {value}{hint}{broken}",
        {
            "known": ", ".join(known),
            "value": repr(policy),
            "hint": suggestion(policy, known),
            "broken": QUEUE_ORDERS.broken(),
        },
    )


Policy = Annotated[
    str,
    AfterValidator(_registered),
    Field(
        description=f"Order of the waiting queue. One of: {', '.join(QUEUE_ORDERS.names())}.",
        json_schema_extra={"enum": [*QUEUE_ORDERS.names()]},
    ),
]
"""The name of a queue order."""


def _options_side_by_side() -> type[ConfigModel]:
    """Return a block with the options of every queue order; the registry sees to it that they agree."""
    fields: dict[str, Any] = {}
    owners: dict[str, list[str]] = {}
    for entry in QUEUE_ORDERS.entries():
        for name, field in entry.options.model_fields.items():
            if name == QUEUE_ORDERS.tag:
                continue
            fields.setdefault(name, field)
            owners.setdefault(name, []).append(entry.name)
    for name, field in fields.items():
        fields[name] = copy(field)
        fields[name].description = f"{(field.description or name).removesuffix('.')} ({', '.join(owners[name])})."
    described: dict[str, Any] = {name: (field.annotation, field) for name, field in fields.items()}
    return create_model(
        "Ordering",
        __base__=ConfigModel,
        __doc__="Figures behind the queue orders; each reads its own.",
        **described,
    )


if TYPE_CHECKING:
    Ordering = ConfigModel
else:
    Ordering: Final = _options_side_by_side()
