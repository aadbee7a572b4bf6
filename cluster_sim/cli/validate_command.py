"""``cluster-sim validate``: check of a study, with the memory plan and the lookahead report."""

from typing import Annotated

import typer

from cluster_sim.cli.arguments import AllowUnknown, Overrides, StudyFile, Verbose, with_allowance
from cluster_sim.errors import InputError


def validate(
    file: StudyFile,
    overrides: Overrides = None,
    allow_unknown: AllowUnknown = False,
    is_library_checked: Annotated[
        bool, typer.Option("-m", "--models", help="Check every model and device of the library too.")
    ] = False,
    is_verbose: Verbose = False,
) -> None:
    """Check a study; print every resolved value, the memory plan and, with -v, the lookahead report."""
    from cluster_sim.config.loading.error_context import locating_errors
    from cluster_sim.config.loading.load import check_study, read_document
    from cluster_sim.study.validation_report import check_library, refused_models, validation_report
    from cluster_sim.study.variants import expand

    document = read_document(file, with_allowance(overrides, allow_unknown))
    notes: list[str] = []
    study = check_study(document, file.resolve().parent, notes)
    with locating_errors(document):
        variants = expand(file, document) if study.sweep is not None else []
        try:
            typer.echo(validation_report(study, variants, notes, has_lookahead=is_verbose), nl=False)
        except InputError:
            typer.echo(refused_models(study), nl=False)  # They may say why the study is refused.
            raise
    if is_library_checked:
        typer.echo(check_library(), nl=False)
