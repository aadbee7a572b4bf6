"""Scores: errors per run, averaged within groups first and over groups then.

A group is (model, device, TP, workload), so a configuration measured four times counts once.  ``overall`` is over the
vLLM 0.15 aggregates and requests whose latencies mean something, a run given in two folders counted once.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from cluster_sim.calibration.case import WHOLE_RUN, Case, Key
from cluster_sim.calibration.latency_figures import MEAN_METRICS, percentage_error

AGGREGATES: Final = "blis-vllm015-aggregates"
REQUESTS: Final = "blis-vllm015-h100-requests"
OVERALL_DATASETS: Final = (AGGREGATES, REQUESTS)
OVERLOAD_METRICS: Final = ("requests_per_s", "tokens_per_s", "full_steps_per_s")
"""Metrics that are scored if the client gave up on a good part of the requests."""


@dataclass(frozen=True, slots=True)
class Score:
    """One figure of one run, measured and simulated."""

    case: Case
    key: Key
    measured: float
    simulated: float

    @property
    def error(self) -> float:
        """Absolute error in percent."""
        return percentage_error(self.simulated, self.measured)

    @property
    def metric(self) -> str:
        """The figure's name, the stage in front where it is not the whole run."""
        stage, name = self.key
        return name if stage == WHOLE_RUN else f"stage{stage}.{name}"


@dataclass(frozen=True, slots=True)
class Skipped:
    """A run that could not be used, and why."""

    dataset: str
    run: str
    reason: str


def score(case: Case, simulated: dict[Key, float]) -> list[Score]:
    """Return the figures of a case that both sides have; of an overloaded run only its throughput."""
    return [
        Score(case, key, measured, simulated[key])
        for key, measured in sorted(case.measured.items())
        if key in simulated and measured and (not case.is_overloaded or key[1] in OVERLOAD_METRICS)
    ]


def group_mean(scores: Iterable[Score]) -> tuple[float, int]:
    """Return the mean over groups of the groups' mean errors in percent, and the number of groups; (nan, 0) if none."""
    by_group: dict[tuple[str, str, int, str], list[float]] = defaultdict(list)
    for figure in scores:
        by_group[figure.case.group].append(figure.error)
    means = [sum(errors) / len(errors) for errors in by_group.values()]
    return (sum(means) / len(means), len(means)) if means else (float("nan"), 0)


def once(scores: list[Score]) -> list[Score]:
    """Return the scores without the second and later appearances of a run that several folders have."""
    chosen: dict[tuple[str, str], Score] = {}
    for figure in scores:
        chosen.setdefault((figure.case.fold or figure.case.run, figure.metric), figure)
    return list(chosen.values())


def scoreboard(scores: list[Score]) -> dict[str, Any]:
    """Return ``{"overall", "datasets", "with_refused", "runs"}`` as the scoreboard's file has them, errors in percent.

    Runs that contradict themselves count in ``with_refused`` alone, which has the data sets that hold any.
    """
    datasets: dict[str, dict[str, Any]] = {}
    with_refused: dict[str, dict[str, Any]] = {}
    for name in sorted({figure.case.dataset for figure in scores}):
        every = [figure for figure in scores if figure.case.dataset == name]
        consistent = [figure for figure in every if not figure.case.contradiction]
        datasets[name] = summary(consistent)
        if len(consistent) < len(every):
            with_refused[name] = summary(every)
    return {
        "overall": overall(scores),
        "datasets": datasets,
        "with_refused": with_refused,
        "runs": [
            {
                "dataset": figure.case.dataset,
                "run": figure.case.run,
                "metric": figure.metric,
                "measured": figure.measured,
                "simulated": figure.simulated,
                "error": figure.error,
            }
            for figure in scores
        ],
    }


def summary(scores: list[Score]) -> dict[str, Any]:
    """Return every metric's mean error, the median run's for means, and the number of groups behind the largest of
    them; stages are one metric.
    """
    result: dict[str, Any] = {}
    count = 0
    for metric in sorted({figure.key[1] for figure in scores}):
        whole = [figure for figure in scores if figure.key == (WHOLE_RUN, metric)]
        if whole:
            result[metric], groups = group_mean(whole)
            count = max(count, groups)
            if metric in MEAN_METRICS.values():
                result[f"{metric}.median_run"] = float(median(figure.error for figure in whole))
        stages = [figure for figure in scores if figure.key[1] == metric and figure.key[0] != WHOLE_RUN]
        if stages:
            result[f"stage.{metric}"] = group_mean(stages)[0]
    result["n"] = count
    return result


def overall(scores: list[Score]) -> dict[str, float | None]:
    """Return the mean errors of E2E, TPOT and TTFT over the vLLM 0.15 runs; None if there is none."""
    chosen = [
        figure
        for figure in scores
        if figure.case.dataset in OVERALL_DATASETS and not (figure.case.is_overloaded or figure.case.contradiction)
    ]
    result: dict[str, float | None] = {}
    for name, metric in MEAN_METRICS.items():
        value, groups = group_mean(once([figure for figure in chosen if figure.key == (WHOLE_RUN, metric)]))
        result[name] = value if groups else None
    return result


def peer_summary(cases: list[Case]) -> dict[str, dict[str, dict[str, float]]]:
    """Return other simulators' errors by data set, simulator and metric, averaged as ours; ``n`` counts groups."""
    collected: dict[tuple[str, str, str], dict[tuple[str, str, int, str], list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for case in cases:
        for peer, errors in ({} if case.contradiction else case.peers).items():
            for (stage, metric), error in errors.items():
                if stage == WHOLE_RUN:
                    collected[case.dataset, peer, metric][case.group].append(error)
    result: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for (dataset, peer, metric), by_group in sorted(collected.items()):
        means = [sum(errors) / len(errors) for errors in by_group.values()]
        result[dataset][peer][metric] = sum(means) / len(means)
        result[dataset][peer]["n"] = max(result[dataset][peer].get("n", 0.0), float(len(means)))
    return {dataset: dict(by_peer) for dataset, by_peer in result.items()}
