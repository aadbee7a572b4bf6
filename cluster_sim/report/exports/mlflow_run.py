"""MLflow: the summary of a run as metrics, its study as parameters, and their files as artifacts."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final, Literal

from pydantic import Field

from cluster_sim.output.run_directory import RESOLVED_FILE, SUMMARY_FILE
from cluster_sim.report.export_target import EXPORTS, ExportOptions, optional_module
from cluster_sim.report.flat_summary import flat_study, flat_summary
from cluster_sim.report.run_data import RunData

PARAMETERS: Final = 100
METRICS: Final = 1000
"""Most of each that one call of MLflow's REST interface takes."""
LONGEST_PARAMETER: Final = 500
"""Characters of a parameter's value that every release takes."""


class MlflowExport(ExportOptions):
    """A run of MLflow; without a tracking URI its own variable MLFLOW_TRACKING_URI says where."""

    kind: Literal["mlflow"] = "mlflow"
    experiment: str = Field("cluster-sim", min_length=1, description="Experiment of the run; made if there is none.")
    tracking_uri: str = Field("", description="Server, database or folder; empty is MLflow's own choice.")


@EXPORTS.register("mlflow", MlflowExport)
def export_to_mlflow(data: RunData, options: MlflowExport) -> str:
    """Write one run, and return its experiment and id."""
    mlflow = optional_module("mlflow", "mlflow")
    if options.tracking_uri:
        mlflow.set_tracking_uri(options.tracking_uri)
    mlflow.set_experiment(options.experiment)
    with mlflow.start_run(run_name=data.summary["name"]) as run:
        for parameters in _parts(flat_study(data), PARAMETERS):
            mlflow.log_params({name: str(value)[:LONGEST_PARAMETER] for name, value in parameters.items()})
        for metrics in _parts(flat_summary(data), METRICS):
            mlflow.log_metrics(metrics)
        for file in (SUMMARY_FILE, RESOLVED_FILE):
            mlflow.log_artifact(str(data.directory / file))
        return f"MLflow: experiment {options.experiment}, run {run.info.run_id}"


def _parts(values: Mapping[str, Any], most: int) -> Iterator[dict[str, Any]]:
    items = iter(values.items())
    while part := dict(islice(items, most)):
        yield part
