"""Scoreboard: every measured run under a folder simulated, and the errors beside the peers'.

    python scripts/fidelity.py --data DIR --json OUT [--cv]
    python scripts/fidelity.py --data DIR --default-source

Only configuration and workload columns reach the simulator; every fitted figure is read from ``conf/profiles``, and a
run that would fit anything ends with exit code 2.  ``--cv`` is the exception by design: it refits with each run, and
each (model, TP), left out, which is the honest estimate of what unseen runs will show.  ``--default-source`` simulates
the H100 runs of vLLM 0.15 with the source that a study gets by default, and with the data sheet alone.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cluster_sim.atomic_file import whole_file
from cluster_sim.errors import InputError
from validation.board import DEFAULT_CALIBRATION, Board, run_board
from validation.operators import find_operators
from validation.text import board_text

CHECKOUT = Path(__file__).resolve().parent.parent
FITTING_MODULE = "cluster_sim.calibration.fit"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 2 wrong input."""
    parser = argparse.ArgumentParser(description="Simulate measured runs and score the simulator against them.")
    parser.add_argument("--data", type=Path, required=True, help="folder in the layout of the ground truth")
    parser.add_argument("--json", type=Path, help="where the scores go")
    parser.add_argument("--cv", action="store_true", help="also refit with each run and each (model, TP) left out")
    parser.add_argument("--only", action="append", default=[], metavar="DATASET", help="these data sets only")
    parser.add_argument("--profile", default=DEFAULT_CALIBRATION, help="frozen coefficients (conf/profiles) or a file")
    parser.add_argument("--default-source", action="store_true", help="try the default source of step times instead")
    options = parser.parse_args(arguments)
    if not options.json and not options.default_source:
        parser.error("the following arguments are required: --json")
    try:
        if options.default_source:
            default_source(options.data)
            return 0
        operators = find_operators(options.data, CHECKOUT)
        board = run_board(options.data, print, tuple(options.only), options.profile, operators)
        refuse_to_fit()
        result = board.as_json()
        print(board_text(result))
        if options.cv:
            result["cross_validation"] = cross_validation(board)
        with whole_file(options.json) as partial:
            partial.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def refuse_to_fit() -> None:
    """Raise InputError when anything has loaded the fitting code: the scores must come from frozen figures alone."""
    if FITTING_MODULE in sys.modules:
        raise InputError("the scoreboard would fit: its figures must come from conf/profiles alone")


def default_source(data: Path) -> None:
    """Print the E2E errors of the default source and of the data sheet, below saturation."""
    from cluster_sim.hardware.predictors.kinds.auto import AutoOptions
    from cluster_sim.hardware.predictors.kinds.roofline import RooflineOptions
    from validation.default_source import h100_cases, outcomes

    for options in (AutoOptions(), RooflineOptions()):
        found = [outcome for outcome in outcomes(h100_cases(data), options) if not outcome.is_on_edge]
        for outcome in found:
            print(f"{outcome.run:52s} {outcome.source}: E2E {outcome.error_percent:.1f} %")
        mean = sum(outcome.error_percent for outcome in found) / len(found)
        print(f"{options.kind}: mean E2E error of {len(found)} runs below saturation {mean:.1f} %")


def cross_validation(board: Board) -> dict[str, object]:
    """Refit with units left out and print what the left-out runs then show."""
    from validation.cross_validation import cross_validate

    return cross_validate(board.cases, print)


if __name__ == "__main__":
    sys.exit(main())
