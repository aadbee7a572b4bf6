"""Imports of small files, and the pools that come of them."""

from pathlib import Path
from typing import Any

import yaml

from cluster_sim.config.loading.load import check_study
from cluster_sim.config.schema.study import Study
from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.import_deployment import import_deployment
from cluster_sim.deployment.server_pool import Choices
from cluster_sim.document import Document

H100 = Choices(device="h100-sxm")


def imported(
    format_name: str, path: Path, choices: Choices = H100, *, allow_unmodelled: bool = False, **environment: str
) -> tuple[Study, Findings]:
    """Return the study of a file, resolved, and the findings."""
    text, findings = import_deployment(format_name, path, choices, environment, allow_unmodelled=allow_unmodelled)
    return check_study(Document.parse(text, "imported"), Path.cwd()), findings


def by_hand(pools: str, study: Study, **rest: Any) -> Study:
    """Return the study of pools written by hand, with the workload and the name of ``study``."""
    data = (
        study.model_dump(mode="json", include={"name", "workload"}) | {"fleet": {"pools": yaml.safe_load(pools)}} | rest
    )
    return check_study(Document.parse(yaml.safe_dump(data), "by hand"), Path.cwd())


def settings(found: list[Any]) -> list[str]:
    """Return the settings of findings."""
    return [finding.setting for finding in found]


def written(folder: Path, text: str, name: str = "deployment.txt") -> Path:
    """Return a file with a text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path
