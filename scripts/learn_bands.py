"""Error bands by case, learnt from runs that were outside the fit, written to ``conf/profiles/error-bands.yaml``.

    python scripts/learn_bands.py --data DIR --scores OUT.json

``OUT.json`` is the scoreboard's with ``--cv`` (``scripts/fidelity.py``), over the same data.  Every run is simulated
once more with the frozen coefficients, which tells whether it sits near saturation.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import yaml

from cluster_sim.atomic_file import whole_file
from cluster_sim.conf_directory import library_path
from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.calibration_file import Provenance
from cluster_sim.hardware.predictors.error_band_file import FILE, LearntBands
from validation.bands import coverage_lines, learn
from validation.left_out import left_out_values, shown_for

COMMENT = (
    "# Learnt error bands: how far measured figures lie from predicted ones, by case; see scripts/learn_bands.py.\n"
)
DATA = (
    "left-out runs of the scoreboard's cross-validation (vLLM 0.15 and 0.23), and runs of other engines and versions "
    "that nothing was fitted to"
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 2 wrong input."""
    parser = argparse.ArgumentParser(description="Learn error bands from left-out runs.")
    parser.add_argument("--data", type=Path, required=True, help="folder in the layout of the ground truth")
    parser.add_argument("--scores", type=Path, required=True, help="the scoreboard's file, made with --cv")
    parser.add_argument("--out", type=Path, help="file to write; the default is the shipped one")
    options = parser.parse_args(arguments)
    out = options.out or library_path("profiles") / f"{FILE}.yaml"
    try:
        scores = json.loads(options.scores.read_text(encoding="utf-8"))
        if "cross_validation" not in scores:
            raise InputError(f"{options.scores}: has no cross_validation; make it with scripts/fidelity.py --cv")
        values = left_out_values(options.data, scores)
        learnt = LearntBands(
            name=FILE,
            provenance=Provenance(
                data=DATA, command="python scripts/learn_bands.py --data ../shared/ground-truth --scores OUT.json"
            ),
            stated_ratio=0.9,
            cases=learn(values, 0.9),
            engine_unseen=shown_for(options.data, scores),
        )
        with whole_file(out) as partial:
            partial.write_text(COMMENT + file_text(learnt), encoding="utf-8")
    except (OSError, ValueError, InputError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(coverage_lines(values, learnt)))
    print(f"wrote {out}")
    return 0


def file_text(learnt: LearntBands) -> str:
    """Return the file: a line for each figure and for each thing that was shown."""
    content = learnt.model_dump(mode="json", exclude_defaults=True)
    cases, shown = content.pop("cases"), content.pop("engine_unseen")
    lines = [yaml.safe_dump({**content, "kind": learnt.kind}, sort_keys=False, width=110).rstrip("\n"), "cases:"]
    for case, figures in cases.items():
        lines.append(f"  {case}:")
        lines += [f"    {figure}: {_flow(band)}" for figure, band in figures.items()]
    lines += ["engine_unseen:", *(f"- {_flow(entry)}" for entry in shown)]
    return "\n".join(lines) + "\n"


def _flow(content: object) -> str:
    return yaml.safe_dump(content, sort_keys=False, default_flow_style=True, width=1000).strip()


if __name__ == "__main__":
    sys.exit(main())
