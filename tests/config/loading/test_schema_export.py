"""The exported JSON Schema."""

from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from cluster_sim.config.loading.schema_export import schema_text, study_schema
from cluster_sim.config.loading.template import study_template
from cluster_sim.document import Document


def test_schema_file_is_current(checkout: Path) -> None:
    """``conf/schema.json`` is what the schema exports; ``make schema`` writes it anew."""
    assert (checkout / "conf" / "schema.json").read_text(encoding="utf-8") == schema_text()


def test_schema_accepts_the_template_and_refuses_unknown_keys() -> None:
    """The schema is a valid one; it passes what the program accepts and catches a misspelt key."""
    Draft202012Validator.check_schema(study_schema())
    validator = Draft202012Validator(study_schema())
    data = Document.parse(study_template(), "template").data
    validator.validate(data)
    data["fleet"]["pools"][0]["replcas"] = 1
    assert not validator.is_valid(data)


def test_every_option_is_described() -> None:
    """Every option of the study file has a description (``kind`` is described by its block)."""
    missing = [
        f"{name}.{key}"
        for name, block in _blocks(study_schema())
        for key, option in block.get("properties", {}).items()
        if key != "kind" and not option.get("description")
    ]
    assert missing == []


def _blocks(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [("Study", schema), *schema["$defs"].items()]
