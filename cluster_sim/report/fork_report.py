"""Report of a fork: one row a branch, with what differs from the run that goes on unchanged."""

from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster_sim.report.console import print_whole
from cluster_sim.report.result_tables import duration_text
from cluster_sim.shown_values import by_number, counted
from cluster_sim.study.comparison import Difference, Finding
from cluster_sim.study.fork_comparison import ForkComparison

SHOWN: Final = ("ttft_mean_s", "ttft_p99_s", "tpot_mean_s", "e2e_mean_s", "e2e_p99_s", "queue_mean_s")
"""Figures that are columns; the file has all."""


def print_fork(console: Console, fork: ForkComparison) -> None:
    """Print the branches, each figure with its difference in percent; what chance may explain is dim."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("branch")
    known = {difference.figure for compared in fork.branches for difference in compared.differences}
    shown = [figure for figure in SHOWN if figure in known]
    for figure in shown:
        table.add_column(figure.removesuffix("_s").replace("_", " "), justify="right", no_wrap=True)
    for place, compared in enumerate(fork.branches):
        by_figure = {difference.figure: difference for difference in compared.differences}
        if not place:
            table.add_row(fork.unchanged.branch.name, *(duration_text(by_figure[figure].first) for figure in shown))
        table.add_row(compared.result.branch.name, *(_cell(by_figure[figure]) for figure in shown))
    print_whole(console, table)
    console.print(
        Text(
            f"{counted(fork.requests, 'request')} that {by_number(fork.requests, 'arrives', 'arrive')} from "
            f"{fork.checkpoint.at_s:g} s on, compared in pairs with the run that goes on unchanged; * is more than "
            "chance"
        ),
        soft_wrap=True,
    )


def _cell(difference: Difference) -> Text:
    is_real = difference.finding in (Finding.DIFFERENT, Finding.WITHIN_BAND)
    ratio = "" if difference.ratio is None else f" {difference.ratio:+.1%}"
    mark = " *" if is_real else ""
    return Text(f"{duration_text(difference.second)}{ratio}{mark}", style="" if is_real else "dim")
