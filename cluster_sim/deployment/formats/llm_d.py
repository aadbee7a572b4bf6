"""Values of llm-d: scenarios of its benchmark, and its Helm chart for a model service."""

from typing import Literal

from cluster_sim.deployment.deployment_format import DEPLOYMENT_FORMATS, Deployment, FormatOptions, Source
from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.llm_d_chart import chart_server
from cluster_sim.deployment.llm_d_scenario import scenario_server
from cluster_sim.deployment.yaml_part import Part
from cluster_sim.document import Document
from cluster_sim.errors import InputError


class LlmDFormat(FormatOptions):
    """A scenario of llm-d's benchmark (scenario: ...), or values of its model service chart (modelArtifacts: ...)."""

    kind: Literal["llm-d"] = "llm-d"


@DEPLOYMENT_FORMATS.register("llm-d", LlmDFormat)
def read_llm_d(source: Source, findings: Findings) -> Deployment:
    """Return the server of each scenario, or the one of the chart."""
    root = Part(Document.parse(source.text, str(source.path)))
    if "modelArtifacts" in root.value:
        return Deployment([chart_server(root, source, findings)])
    scenarios = root.parts("scenario")
    if not scenarios:
        raise InputError(
            f"{source.path}:1: has neither scenario nor modelArtifacts, so these are no values of llm-d; the keys are "
            f"{', '.join(root.value)}"
        )
    return Deployment([scenario_server(scenario, source, findings) for scenario in scenarios])
