"""``cluster-sim compare``: differences between two runs, two sweeps, or a run and a real benchmark."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    first: Annotated[
        Path, typer.Argument(metavar="A", help="Directory of a run or a sweep, or a benchmark's results.")
    ],
    second: Annotated[Path, typer.Argument(metavar="B", help="What to compare with it; differences are B less A.")],
    is_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="Confidence of the intervals.")] = 0.95,
) -> None:
    """Compare two runs, two sweeps, or a run with a real benchmark: which differences matter, and which are noise.

    Benchmarks are results of vllm bench serve, SGLang's bench_serving, AIPerf, guidellm, inference-perf or llm-d.
    """
    import json

    from cluster_sim.report.comparison_report import plain, print_comparison, summary_text
    from cluster_sim.report.console import make_console
    from cluster_sim.study.comparison_sides import compare as compare_sides

    comparison = compare_sides(first, second, confidence)
    if is_json:
        typer.echo(json.dumps(plain(comparison), indent=1, allow_nan=False))
        return
    names = ("benchmark", "simulated") if comparison.kind == "benchmark" else ("A", "B")
    print_comparison(make_console(), comparison, names)
    typer.echo(f"\n{summary_text(comparison)}")
