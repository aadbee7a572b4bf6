"""``cluster-sim checkpoint`` and ``cluster-sim fork``: a run warmed up once that goes on in several ways."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cluster_sim.cli.arguments import Address, AllowUnknown, Overrides, StudyFile, with_allowance
from cluster_sim.cli.run_command import ExecutorName
from cluster_sim.shown_values import counted

if TYPE_CHECKING:
    from cluster_sim.study.forking import BranchResult


def checkpoint(
    file: StudyFile,
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="Simulated time, for example 600s or 10m.")],
    overrides: Overrides = None,
    allow_unknown: AllowUnknown = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Directory of the checkpoint. [default: checkpoints/<name>-<config hash>-<time>s]"
        ),
    ] = None,
) -> None:
    """Run a study up to a simulated time and keep its state, from which `fork` goes on in several ways."""
    from cluster_sim.cli.durations import seconds_of
    from cluster_sim.config.loading.error_context import locating_errors
    from cluster_sim.config.loading.load import check_study, read_document
    from cluster_sim.report.terminal import TerminalView
    from cluster_sim.simulation.checkpoint import take_checkpoint

    at_s = seconds_of(at, f"--at {at}", needs_unit=False)
    document = read_document(file, with_allowance(overrides, allow_unknown))
    study = check_study(document, file.resolve().parent)
    with locating_errors(document):
        taken = take_checkpoint(study, at_s, out, TerminalView())
    typer.echo(f"checkpoint at {taken.at_s:g} s in {taken.directory}")
    typer.echo(f"to go on in two ways: cluster-sim fork {taken.directory} --set router.policy=random")


def fork(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Directory of a checkpoint.", show_default=False)],
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change one value in every branch; repeatable."),
    ] = None,
    varied: Annotated[
        list[str] | None,
        typer.Option(
            "--vary",
            metavar="KEY=[V1,V2]",
            help="One branch for each value, for example router.policy=[random,least_kv]; repeated: every combination.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Directory of the branches. [default: forks/<checkpoint>]")
    ] = None,
    executor: Annotated[
        ExecutorName, typer.Option(help="Runtime of each branch; inline runs several at a time.")
    ] = ExecutorName.inline,
    address: Address = None,
    is_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Go on from a checkpoint in several ways, and compare each with the run that goes on unchanged."""
    import json

    from cluster_sim.config.loading.overrides import key_values
    from cluster_sim.report.console import make_console
    from cluster_sim.report.fork_report import print_fork
    from cluster_sim.simulation.checkpoint import read_checkpoint
    from cluster_sim.simulation.process_pool import ProcessPool
    from cluster_sim.simulation.task_pool import InlinePool
    from cluster_sim.study.fork_comparison import compare_branches, plain_fork
    from cluster_sim.study.forking import FORK_FILE, ForkOptions, branches_of, run_branches

    taken = read_checkpoint(directory)
    branches = branches_of(taken, key_values(changes or (), "--set"), key_values(varied or (), "--vary"))
    options = ForkOptions(out or Path("forks") / directory.resolve().name, executor.value, address)

    def print_end(result: "BranchResult") -> None:
        if not is_json:
            typer.echo(f"{result.branch.name}: digest {result.digest}, {result.directory}")

    with ProcessPool() as processes:
        pool = processes if executor is ExecutorName.inline else InlinePool()
        results = run_branches(taken, branches, options, pool, print_end)
    compared = compare_branches(taken, results)
    text = json.dumps(plain_fork(compared), indent=1, allow_nan=False)
    (options.out / FORK_FILE).write_text(text + "\n", encoding="utf-8")
    if is_json:
        typer.echo(text)
        return
    print_fork(make_console(), compared)
    typer.echo(
        f"\n{counted(len(results), 'branch', 'branches')}: {options.out / FORK_FILE}; cluster-sim compare takes "
        "any two of them"
    )
