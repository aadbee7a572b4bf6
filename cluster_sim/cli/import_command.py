"""``cluster-sim import``: a deployment that people run, as the pools of a study."""

import re
from pathlib import Path
from typing import Annotated

import typer

from cluster_sim.errors import InputError


def import_deployment(
    format_name: Annotated[
        str,
        typer.Argument(
            metavar="FORMAT", help="vllm-serve, kserve, production-stack, llm-d or metrics.", show_default=False
        ),
    ],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to import.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="Study to write, which must not exist; else it is printed."
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="GPU: a name of conf/devices; needed where the file names none.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Model in place of the file's: a name of conf/models, or a config.json."),
    ] = None,
    replicas: Annotated[int | None, typer.Option("--replicas", min=1, help="Replicas in place of the file's.")] = None,
    tensor_parallel: Annotated[
        int | None, typer.Option("--tensor-parallel", min=1, help="GPUs that share a layer, in place of the file's.")
    ] = None,
    engine_version: Annotated[
        str | None, typer.Option("--engine-version", help="Version of vLLM, in place of the file's.")
    ] = None,
    variable: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="NAME=VALUE", help="Value of a variable that the file leaves open; repeatable."),
    ] = None,
    allow_unmodelled: Annotated[
        bool, typer.Option("--allow-unmodelled", help="Leave out what is not modelled, and list it.")
    ] = False,
) -> None:
    """Print the study of a deployment: its pools, and what of it has no effect or is not understood."""
    from cluster_sim.deployment.import_deployment import import_deployment as read
    from cluster_sim.deployment.server_pool import Choices

    wrong = next((assignment for assignment in variable or () if not re.match(r"[A-Za-z_]\w*=", assignment)), None)
    if wrong is not None:
        raise InputError(f"--env: must be NAME=VALUE; got {wrong!r}")
    if engine_version is not None and not re.fullmatch(r"\d+(\.\d+)+", engine_version):
        raise InputError(
            f"--engine-version: must be numbers separated by dots, for example 0.15; got {engine_version!r}"
        )
    environment = dict(assignment.split("=", 1) for assignment in variable or ())
    choices = Choices(model, device, replicas, tensor_parallel, engine_version)
    text, findings = read(format_name, file, choices, environment, allow_unmodelled=allow_unmodelled)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as target:
            target.write(text)
    except FileExistsError:
        raise InputError(f"{output}: exists already; name another file with -o") from None
    except OSError as error:
        raise InputError(f"{output}: cannot be written ({error.strerror})") from None
    for title, found in findings.sections():
        typer.echo(f"{title}:")
        for finding in found:
            typer.echo(f"  {finding}")
    typer.echo(f"Wrote {output}; next: cluster-sim validate {output}")
