"""``cluster-sim profile``: import, measure, fit and show operator profiles."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cluster_sim.cli.command_group import CommandGroup
from cluster_sim.errors import InputError
from cluster_sim.shown_values import counted


class Layout(StrEnum):
    """Layouts that can be imported."""

    vidur = "vidur"
    llmservingsim = "llmservingsim"
    aiconfigurator = "aiconfigurator"


class Method(StrEnum):
    """Regressions that can be fitted."""

    forest = "forest"
    linear = "linear"


class BackendName(StrEnum):
    """Libraries that run the measured operators."""

    torch = "torch"
    numpy = "numpy"


class GridName(StrEnum):
    """Sizes of the measured grid."""

    full = "full"
    small = "small"


app = CommandGroup(help="Import, measure, fit and show operator profiles.", no_args_is_help=True)

ModelOption = Annotated[
    str, typer.Option("--model", help="Model measured: a name of conf/models or a file.", show_default=False)
]
DeviceOption = Annotated[
    str, typer.Option("--device", help="Device measured: a name of conf/devices or a file.", show_default=False)
]
Degree = Annotated[int, typer.Option("--tensor-parallel", min=1, help="Tensor-parallel degree measured.")]
Output = Annotated[Path, typer.Option("-o", "--out", help="Profile to write (Parquet).", show_default=False)]
ProfileFile = Annotated[Path, typer.Argument(metavar="PROFILE", help="Operator profile (Parquet).", show_default=False)]


@app.command("import")
def import_command(
    layout: Annotated[Layout, typer.Argument(metavar="LAYOUT", help="vidur, llmservingsim or aiconfigurator.")],
    source: Annotated[
        Path,
        typer.Argument(
            metavar="PATH",
            help="vidur: mlp.csv; llmservingsim: the dtype folder; aiconfigurator: the package's systems/data.",
            show_default=False,
        ),
    ],
    model_name: ModelOption,
    device_name: DeviceOption,
    out: Output,
    tensor_parallel: Degree = 1,
    attention: Annotated[Path | None, typer.Option(help="vidur: attention.csv.")] = None,
    all_reduce: Annotated[Path | None, typer.Option(help="vidur: all_reduce.csv of the network.")] = None,
    send_recv: Annotated[Path | None, typer.Option(help="vidur: send_recv.csv of the network.")] = None,
    engine: Annotated[str, typer.Option(help="aiconfigurator: vllm, sglang or trtllm.")] = "vllm",
) -> None:
    """Read measured operator tables of another layout, check them against the data sheet, and write a profile."""
    from cluster_sim.hardware.device import load_device
    from cluster_sim.hardware.model import load_model
    from cluster_sim.hardware.predictors.operator_profile_file import write_profile
    from cluster_sim.hardware.profiling.plausibility import check_profile
    from cluster_sim.output_target import OPERATOR_PROFILE, check_target

    given = (source, attention, all_reduce, send_recv)
    check_target(out, OPERATOR_PROFILE, [path for path in given if path is not None], is_folder_made=True)
    model, device = load_model(model_name), load_device(device_name)
    if layout is Layout.vidur:
        from cluster_sim.hardware.profiling.import_vidur import import_vidur

        if attention is None:
            raise InputError("layout vidur needs --attention FILE, Vidur's attention.csv")
        profile = import_vidur(source, attention, device.name, model, tensor_parallel, all_reduce, send_recv)
    elif layout is Layout.llmservingsim:
        from cluster_sim.hardware.profiling.import_llmservingsim import import_llmservingsim

        profile = import_llmservingsim(source, device.name, model.name, tensor_parallel)
    else:
        from cluster_sim.hardware.profiling.import_aiconfigurator import import_aiconfigurator

        profile = import_aiconfigurator(source, device, model, tensor_parallel, engine)
    check_profile(profile, model, device)
    write_profile(profile, out)
    typer.echo(f"{out}: {counted(len(profile.rows), 'measurement')} of {counted(len(profile.operators), 'operator')}")


@app.command()
def measure(
    model_name: ModelOption,
    device_name: DeviceOption,
    out: Output,
    tensor_parallel: Degree = 1,
    backend: Annotated[BackendName, typer.Option(help="torch runs on a GPU; numpy on the CPU.")] = BackendName.torch,
    grid: Annotated[GridName, typer.Option(help="small takes seconds and is for trying out.")] = GridName.full,
) -> None:
    """Measure a model's operators on this machine and write a profile."""
    from cluster_sim.hardware.device import load_device
    from cluster_sim.hardware.model import load_model
    from cluster_sim.hardware.predictors.operator_profile_file import write_profile
    from cluster_sim.hardware.profiling.backends import backend_named
    from cluster_sim.hardware.profiling.measurement import SMALL, Grid
    from cluster_sim.hardware.profiling.measurement import measure as measure_operators
    from cluster_sim.output_target import OPERATOR_PROFILE, check_target

    check_target(out, OPERATOR_PROFILE, is_folder_made=True)
    device = load_device(device_name)
    points = SMALL if grid is GridName.small else Grid()
    profile = measure_operators(
        load_model(model_name), device.name, backend_named(backend.value), tensor_parallel, points
    )
    write_profile(profile, out)
    typer.echo(f"{out}: {counted(len(profile.rows), 'measurement')} of {counted(len(profile.operators), 'operator')}")


@app.command()
def fit(
    file: ProfileFile,
    out: Output,
    method: Annotated[Method, typer.Option(help="forest: random forest; linear: regression.")] = Method.forest,
) -> None:
    """Fit a model to every operator, print its cross-validated error, and write its answers as a profile."""
    from cluster_sim.hardware.predictors.operator_profile_file import read_profile, write_profile
    from cluster_sim.hardware.profiling.distillation import fit_profile
    from cluster_sim.output_target import OPERATOR_PROFILE, check_target

    check_target(out, OPERATOR_PROFILE, [file], is_folder_made=True)
    fitted, errors = fit_profile(read_profile(file), method.value)
    write_profile(fitted, out)
    for error in errors:
        typer.echo(f"{error.group:<34}{error.rows:>7} rows  {error.mape_percent:6.2f} % mean error, cross-validated")
    typer.echo(f"{out}: {counted(len(fitted.rows), 'entry', 'entries')}")


@app.command()
def show(
    file: ProfileFile,
    against: Annotated[Path | None, typer.Option(help="Another profile to compare with, key by key.")] = None,
    page: Annotated[Path | None, typer.Option("--html", help="Also write a page with plots.")] = None,
    is_json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Print the operators of a profile, and how far they are from the data sheet or from another profile."""
    from dataclasses import asdict

    from cluster_sim.hardware.device import load_device
    from cluster_sim.hardware.model import load_model
    from cluster_sim.hardware.predictors.operator_profile_file import read_profile
    from cluster_sim.hardware.profiling.page import against_profile, against_roofline, summarise, write_page
    from cluster_sim.output_target import PAGE, check_target

    if page is not None:
        check_target(page, PAGE)
    profile = read_profile(file)
    if against is not None:
        comparisons, predicted = against_profile(profile, read_profile(against)), str(against)
    else:
        model, device = load_model(profile.info.model), load_device(profile.info.device)
        comparisons, predicted = against_roofline(profile, model, device), "the data sheet's roofline"
    lines = summarise(profile, comparisons)
    if page is not None:
        write_page(profile, comparisons, predicted, page)
    if is_json:
        typer.echo(json.dumps({"info": asdict(profile.info), "operators": [asdict(line) for line in lines]}, indent=2))
        return
    info = profile.info
    typer.echo(f"{info.model} on {info.device}, tensor_parallel {info.tensor_parallel}, {info.dtype}: {info.source}")
    typer.echo(f"{'operator':<34}{'rows':>7}{'shortest us':>13}{'longest us':>13}{'ratio':>8}  keys")
    for line in lines:
        ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
        typer.echo(
            f"{line.operator:<34}{line.rows:>7}{line.shortest_us:>13.5g}{line.longest_us:>13.5g}{ratio:>8}  {line.keys}"
        )
    typer.echo(f"ratio: median of measured over {predicted}")
