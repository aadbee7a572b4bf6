"""``cluster-sim list``: what studies can name, one line each."""

from enum import StrEnum
from typing import Annotated

import typer


class Topic(StrEnum):
    """What can be listed: files of the library, then the axes of extension."""

    devices = "devices"
    links = "links"
    models = "models"
    profiles = "profiles"
    engines = "engines"
    predictors = "predictors"
    policies = "policies"
    connectors = "connectors"
    handover_deciders = "handover-deciders"
    picker_filters = "picker-filters"
    picker_scorers = "picker-scorers"
    picker_pickers = "picker-pickers"
    picker_handlers = "picker-handlers"
    picker_deciders = "picker-deciders"
    faults = "faults"
    detectors = "detectors"
    flow_orderings = "flow-orderings"
    fairness = "fairness"
    shedders = "shedders"
    scalers = "scalers"
    orders = "orders"
    workloads = "workloads"
    arrivals = "arrivals"
    lengths = "lengths"
    distributions = "distributions"
    formats = "formats"


def list_parts(
    topic: Annotated[Topic, typer.Argument(metavar="WHAT", help=f"One of {', '.join(Topic)}.", show_default=False)],
) -> None:
    """List what studies can name: devices, links, models, profiles, and the parts of every axis of extension."""
    from cluster_sim.study.listing import listing

    for line in listing(topic.value):
        typer.echo(line)
