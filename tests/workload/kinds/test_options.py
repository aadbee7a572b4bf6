"""Refusals of the workload section."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from cluster_sim.workload.kind_interface import WorkloadConfig

ADAPTER: TypeAdapter[Any] = TypeAdapter(WorkloadConfig)
LENGTHS = {"prompt": {"kind": "fixed", "value": 5}, "output": {"kind": "fixed", "value": 5}}
ARRIVALS = {"kind": "poisson", "request_rate": 1}
SYNTHETIC = {"kind": "synthetic", "arrivals": ARRIVALS, "lengths": LENGTHS, "count": 5}
AGENT = {"kind": "agentic", "arrivals": ARRIVALS, "count": 5}


def step(name: str, *after: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "after": list(after), "lengths": LENGTHS} | more


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"kind": "trce", "path": "x"}, "does not match any of the expected tags"),
        ({"kind": "trace"}, "Field required"),
        ({"kind": "trace", "path": "x", "formt": "azure"}, "Extra inputs are not permitted"),
        ({"kind": "trace", "path": "x", "labels": {"timestmp": "t"}}, "did you mean 'timestamp'"),
        ({"kind": "trace", "path": "x", "time_scale": 0}, "greater than 0"),
        ({"kind": "trace", "path": "x", "time_scale": 2, "request_rate": 1}, "not both"),
        ({"kind": "trace", "path": "x", "start_s": 5, "end_s": 5}, "greater than start_s"),
        ({"kind": "trace", "path": "x", "bootstrap": {"window_s": 1}}, "either count or duration_s"),
        ({**SYNTHETIC, "count": None}, "give count or duration_s"),
        ({**SYNTHETIC, "count": 0}, "greater than or equal to 1"),
        ({**SYNTHETIC, "traits": {"lora": "a", "lora_pool": 3}}, "not both"),
        ({**SYNTHETIC, "duration_s": float("inf")}, "finite"),
        ({**AGENT, "steps": [step("a"), step("b", "c")]}, "'b' comes after 'c', which is not an earlier step"),
        ({**AGENT, "steps": [step("a"), step("a")]}, "'a' is given twice"),
        ({**AGENT, "steps": [step("a", probability=0.5)]}, "must have probability 1"),
        (
            {"kind": "clients", "arrivals": ARRIVALS, "count": 5, "profiles": [{"name": "x", "lengths": LENGTHS}] * 2},
            "'x' is given twice",
        ),
        ({"kind": "mix", "parts": []}, "at least 1 item"),
        ({"kind": "closed_loop", "users": 0, "count": 1, "lengths": LENGTHS, "think_time_s": {"value": 1}}, "users"),
    ],
)
def test_wrong_sections_are_refused(section: dict[str, Any], message: str) -> None:
    """Each names the key and what would be right."""
    with pytest.raises(ValidationError, match=message):
        ADAPTER.validate_python(section)


def test_lengths_default_to_independent() -> None:
    """``kind`` of lengths may be left out, and comes back when the study is written out."""
    study = ADAPTER.validate_python(SYNTHETIC)
    assert study.lengths.kind == "independent"
    assert ADAPTER.validate_python(study.model_dump(mode="json")) == study


def test_every_field_is_described() -> None:
    """The schema says what every key means."""
    schema = ADAPTER.json_schema()
    for name, part in schema["$defs"].items():
        for key, field in part.get("properties", {}).items():
            assert key == "kind" or "description" in field, f"{name}.{key}"
