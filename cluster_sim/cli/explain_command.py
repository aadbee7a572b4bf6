"""``cluster-sim explain``: where the time of one request went."""

import json
from pathlib import Path
from typing import Annotated

import typer

RequestId = Annotated[
    int, typer.Argument(metavar="REQUEST_ID", help="Its request_id in requests.parquet.", show_default=False)
]


def explain(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of a complete run.", show_default=False)],
    request_id: RequestId,
    is_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of sentences and a table.")] = False,
) -> None:
    """Say where the time of one request of a finished run went, and why it was slow."""
    from cluster_sim.report.console import make_console
    from cluster_sim.report.explanation import explain_request, print_explanation
    from cluster_sim.report.run_data import RunData, undamaged

    with undamaged(directory):
        explanation = explain_request(RunData.read(directory), request_id)
    if is_json:
        typer.echo(json.dumps(explanation.to_plain(), indent=1, allow_nan=False))
    else:
        print_explanation(make_console(), explanation)
