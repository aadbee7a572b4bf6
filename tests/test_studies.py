"""The studies of ``conf/``: each one is valid, its names are known, and its models fit."""

import json
from pathlib import Path

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.document import Document
from cluster_sim.simulation.plan import make_plan

CONF = Path(__file__).resolve().parent.parent / "conf"
STUDIES = sorted(path for folder in (CONF.glob("*.yaml"), (CONF / "studies").rglob("*.yaml")) for path in folder)


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: str(path.relative_to(CONF)))
def test_study_is_valid(path: Path) -> None:
    """The study follows the schema and its fleet can be built; traces, which the checkout lacks, are not read."""
    study = Study.model_validate_json(json.dumps(Document.read(path).data), strict=True)
    assert make_plan(study).replicas >= 1
