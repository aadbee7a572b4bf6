"""Weights & Biases: the summary and the study of a run as one of its runs, with their files as an artifact."""

from typing import Literal

from pydantic import Field

from cluster_sim.output.run_directory import RESOLVED_FILE, SUMMARY_FILE
from cluster_sim.report.export_target import EXPORTS, ExportOptions, optional_module
from cluster_sim.report.flat_summary import flat_study, flat_summary
from cluster_sim.report.run_data import RunData


class WandbExport(ExportOptions):
    """A run of Weights & Biases; its own variables (WANDB_API_KEY, WANDB_BASE_URL) say where and as whom."""

    kind: Literal["wandb"] = "wandb"
    project: str = Field("cluster-sim", min_length=1, description="Project of the run.")
    entity: str = Field("", description="User or team that owns the project; empty is the default of the account.")
    group: str = Field("", description="Group of the run, for example a sweep.")
    mode: Literal["online", "offline"] = Field(
        "online", description="offline writes a folder wandb, which `wandb sync` uploads later."
    )


@EXPORTS.register("wandb", WandbExport)
def export_to_wandb(data: RunData, options: WandbExport) -> str:
    """Write one run, and return its address or folder."""
    wandb = optional_module("wandb", "wandb")
    name = data.summary["name"]
    run = wandb.init(
        project=options.project,
        entity=options.entity or None,
        group=options.group or None,
        name=name,
        config=flat_study(data),
        mode=options.mode,
        job_type="simulation",
    )
    try:
        run.summary.update(flat_summary(data))
        artifact = wandb.Artifact(f"{name}-{data.manifest.get('config_hash')}", type="simulated-run")
        for file in (SUMMARY_FILE, RESOLVED_FILE):
            artifact.add_file(str(data.directory / file))
        run.log_artifact(artifact)
        place = run.url or run.dir
    finally:
        run.finish()
    return f"Weights & Biases: {place}"
