"""The study of an imported deployment, as text with what the import has to say."""

import json
from pathlib import Path
from typing import Any, Final

import yaml

from cluster_sim.config.loading.load import check_study
from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.server_pool import pool_name
from cluster_sim.document import Document
from cluster_sim.hardware.model import load_model

EXAMPLE_REQUESTS: Final = 1000
LONGEST_EXAMPLE_TOKENS: Final = 2000
"""Of an example's prompts; outputs are up to a quarter of it."""


def study_text(format_name: str, path: Path, pools: list[dict[str, Any]], router: Any, findings: Findings) -> str:
    """Return a study of the pools, checked, with an example of a workload and the findings as comments.

    Raises InputError for a pool that no study may have.
    """
    study: dict[str, Any] = {"name": pool_name(path.stem), "workload": _example(pools), "fleet": {"pools": pools}}
    if router is not None:
        study["router"] = router
    check_study(Document.parse(json.dumps(study), str(path)), Path.cwd())
    parts = {key: yaml.safe_dump({key: value}, sort_keys=False, width=110) for key, value in study.items()}
    lines = [f"# Imported from {path.name} ({format_name})."]
    for title, found in findings.sections():
        lines += [f"# {title}:", *(f"#   {' '.join(str(finding).split())}" for finding in found)]
    header = "".join(f"{line}\n" for line in lines)
    example = "# No deployment says what it is asked: put your own workload in the place of this example.\n"
    rest = "".join(text for key, text in parts.items() if key not in {"name", "workload"})
    return f"{header}{parts['name']}{example}{parts['workload']}{rest}"


def _example(pools: list[dict[str, Any]]) -> dict[str, Any]:
    """Return one request a second for each model, of lengths that every pool can serve."""
    models = list(dict.fromkeys(pool["model"] for pool in pools))
    parts = []
    for model in models:
        limits = [
            pool["engine"].get("max_model_len") or load_model(model).max_position_embeddings
            for pool in pools
            if pool["model"] == model
        ]
        prompt = max(2, min(LONGEST_EXAMPLE_TOKENS, min(limits) // 2))
        part: dict[str, Any] = {
            "kind": "synthetic",
            "count": EXAMPLE_REQUESTS,
            "arrivals": {"kind": "poisson", "request_rate": 1.0},
            "lengths": {
                "prompt": {"kind": "uniform", "min": 1, "max": prompt},
                "output": {"kind": "uniform", "min": 1, "max": max(2, prompt // 4)},
            },
        }
        if len(models) > 1:
            part["traits"] = {"model": model}
        parts.append(part)
    return parts[0] if len(parts) == 1 else {"kind": "mix", "parts": parts}
