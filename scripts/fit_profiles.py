"""Refit of the frozen coefficients of vLLM, written to ``conf/profiles``.

    python scripts/fit_profiles.py vllm --data DIR [--cv]         v1 engine, from the 0.15 and 0.23 runs
    python scripts/fit_profiles.py vllm-0.6 --data DIR [--cv]     v0 engine, from the runs of APEX's authors

The fit simulates every run some hundred times (on shortened copies): minutes.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cluster_sim.calibration.case import WHOLE_RUN, Case
from cluster_sim.calibration.fit import CalibrationFit, Parameter, prepare
from cluster_sim.calibration.refit import write_calibration
from cluster_sim.conf_directory import library_path
from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.calibration_file import (
    Calibration,
    Provenance,
    load_calibration,
    load_operator_ratios,
)
from validation import apex, cross_validation, llmservingsim
from validation.ground_truth import load_all
from validation.measured_configurations import measured_configurations

V0_PARAMETERS = (
    Parameter("step_us", 5000.0, 0.6),
    Parameter("sequence_us", 100.0, 1.5),
    Parameter("gemm_flops_ratio", 0.65, 0.3),
    Parameter("all_reduce_us", 10.0, 0.5),
    Parameter("frontend_us", 8000.0, 0.5),
    Parameter("quantize_layer_us", 150.0, 0.7),
    Parameter("quantized_layer_us", 15.0, 0.7),
)
"""What vLLM 0.6 does differently: the CPU plans every step while the GPU waits, and launches the kernels of prompts one
by one, twice as many where activations are quantised."""
EAGER_PARAMETERS = (Parameter("launch_sequence_us", 50.0, 0.7),)
"""What the CPU takes for each sequence of a step without CUDA graphs."""
EAGER_LAYERS_US = {"launch_layer_us": 225.0, "launch_moe_layer_us": 138.0}
"""What it takes to launch a layer: 20 ms for the 80 layers of Llama-3.1-70B with one request running, by the tokens per
second at the end of a run of LLMServingSim's ISPASS artifact, of which 2 ms are the gap below; and in proportion to the
number of its kernels (some 13) for those that experts add (some 8)."""
SYNC_GAP_US = {"gap_us": 2000.0, "gap_sequence_us": 15.0}
"""Before asynchronous scheduling (0.14) the GPU waits while the CPU plans the next step.  Nothing measures it alone: a
third of what the fit of v0 says of its own CPU."""
NOTES = (
    "launch times of eager steps from one run of LLMServingSim's ISPASS artifact (0.13); the gap of synchronous "
    "scheduling before 0.14 is an assumption, a third of v0's"
)
COMMENT = (
    "# Fitted coefficients of the physical step model; see cluster_sim/hardware/predictors/kinds/physical.py for form "
    "and units.\n"
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; 0 done, 2 wrong input."""
    parser = argparse.ArgumentParser(description="Refit frozen coefficients.")
    parser.add_argument("profile", choices=["vllm", "vllm-0.6"])
    parser.add_argument("--data", type=Path, required=True, help="folder in the layout of the ground truth")
    parser.add_argument("--cv", action="store_true", help="also refit with each run and configuration left out")
    parser.add_argument("--out", type=Path, help="file to write; the default is the frozen one")
    options = parser.parse_args(arguments)
    command = f"python scripts/fit_profiles.py {options.profile} --data ../shared/ground-truth"
    try:
        out = options.out or library_path("profiles") / f"{options.profile}.yaml"
        cases = [case for case in load_all(options.data)[0] if not case.prefill_replicas]
        calibration = (
            fit_v1(cases, command, is_validated=options.cv) if options.profile == "vllm" else fit_v0(cases, command)
        )
        write_calibration(calibration, out, COMMENT)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {out}")
    return 0


def fit_v1(cases: list[Case], command: str, *, is_validated: bool) -> Calibration:
    """Fit the v1 engine; the cross-validated errors go into the provenance."""
    fit, position = cross_validation.calibrate_vllm(cases, show)
    errors: dict[str, float] = {}
    if is_validated:
        result = cross_validation.cross_validate(cases, show, (fit, position))
        for scheme, board in result.items():
            errors |= {f"{metric}, {scheme}": round(value, 2) for metric, value in board["overall"].items()}
    fitted = fit.calibration(position)
    fitted = fitted.model_copy(update={"versions": {"0.14": {}} | fitted.versions})
    fitted = fit_eager(cases, fitted)
    return fitted.model_copy(
        update={
            "provenance": Provenance(
                data="vLLM 0.15.1 on H100, A100 and L40S: end-to-end latencies of 28 runs below saturation; vLLM 0.23 "
                "on H100: 8 cells; priors of A100 and L40S from operator-ratios",
                command=command,
                cross_validation=errors,
                notes=NOTES,
            ),
            "measured": measured_configurations([*(run.case for run in fit.runs), *eager_cases(cases)]),
        }
    )


def fit_eager(cases: list[Case], fitted: Calibration) -> Calibration:
    """Add what the CPU takes in every step without CUDA graphs, and before asynchronous scheduling."""
    fitted = fitted.model_copy(
        update={
            "coefficients": fitted.coefficients | EAGER_LAYERS_US | {"launch_sequence_us": 0.0},
            "versions": fitted.versions | {"0.13": SYNC_GAP_US},
        }
    )
    chosen = eager_cases(cases)
    if not chosen:
        return fitted
    operators = load_operator_ratios(fitted.operators) if fitted.operators else None
    fit = CalibrationFit(prepare(chosen), EAGER_PARAMETERS, fitted, operators, show)
    return fit.calibration(fit.fit())


def eager_cases(cases: list[Case]) -> list[Case]:
    """Return the runs without CUDA graphs that have latencies."""
    return [
        case for case in cases if case.dataset == llmservingsim.ISPASS and (WHOLE_RUN, "tpot_mean") in case.measured
    ]


def fit_v0(cases: list[Case], command: str) -> Calibration:
    """Fit the v0 engine on one server of each configuration, the kernels taken from the v1 engine."""
    v1 = load_calibration("vllm")
    chosen: dict[tuple[str, int, str], Case] = {}
    for case in cases:
        if case.dataset == apex.DATASET:
            latencies = {key: value for key, value in case.measured.items() if key[1] != "e2e_mean"}
            key = (case.model, case.tensor_parallel, case.run.rsplit("_", 1)[0])
            chosen.setdefault(key, replace(case, measured=latencies))
    base = Calibration(
        name="vllm-0.6",
        engine=v1.engine,
        provenance=Provenance(
            data="vLLM 0.6.0 on 8 x H100, Llama-3.1-70B and Mistral-Large-2407 fp8: mean TTFT and TPOT of one server "
            "of each configuration; kernels as in profile vllm",
            command=command,
        ),
        coefficients=v1.coefficients,
        measured=measured_configurations(chosen.values()),
        reference_device=v1.reference_device,
        operators=v1.operators,
    )
    operators = load_operator_ratios(v1.operators) if v1.operators else None
    fit = CalibrationFit(prepare(list(chosen.values())), V0_PARAMETERS, base, operators, show)
    position = fit.fit()
    errors: dict[str, float] = {}
    units = sorted({(run.case.model, run.case.tensor_parallel) for run in fit.runs})
    for unit in units:
        kept = [i for i, run in enumerate(fit.runs) if (run.case.model, run.case.tensor_parallel) != unit]
        refitted = fit.solve(kept, position)
        for index, run in enumerate(fit.runs):
            if index not in kept:
                for figure in cross_validation.simulate(fit, refitted, run):
                    name = f"{figure.metric.removesuffix('_mean')}, configuration left out"
                    errors[name] = errors.get(name, 0.0) + figure.error / len(fit.runs)
    provenance = base.provenance.model_copy(
        update={"cross_validation": {name: round(value, 2) for name, value in errors.items()}}
    )
    return fit.calibration(position).model_copy(update={"provenance": provenance})


def show(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
