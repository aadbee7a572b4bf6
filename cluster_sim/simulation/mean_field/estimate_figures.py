"""Figures of an estimate, the content of its ``summary.json``: means, and no tails."""

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster_sim.hardware.energy import EnergyModel
from cluster_sim.metrics.batch_means import BatchMeans
from cluster_sim.metrics.run_metadata import RunMetadata
from cluster_sim.metrics.run_summary import SUMMARY_VERSION
from cluster_sim.metrics.window import Window, find_window
from cluster_sim.simulation.mean_field.estimate import Estimate, PoolEstimate
from cluster_sim.simulation.mean_field.measured_bias import NEAR_LOAD_RATIO, TPOT_BIAS_PERCENT
from cluster_sim.simulation.measurement import window_rule
from cluster_sim.simulation.run_energy import J_PER_KWH
from cluster_sim.simulation.run_recorder import new_totals
from cluster_sim.units import NS_PER_S

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SATURATED_WARNING: Final = (
    "The load is {ratio:.0%} of what pool {name} serves at most: its queue grows with the length of the run, and its "
    "means say nothing of a steady state."
)


class Requests(NamedTuple):
    """The requests that could run, of all pools, in order of arrival."""

    arrival_s: Floats
    first_token_s: Floats
    finish_s: Floats
    output_tokens: Ints
    prompt_tokens: Ints
    pool: Ints

    def of_pool(self, pool: int) -> "Requests":
        """Return those of one pool."""
        own = self.pool == pool
        return Requests(*(column[own] for column in self))

    @property
    def is_finished(self) -> npt.NDArray[np.bool_]:
        """Whether each of them has ended."""
        return np.isfinite(self.finish_s)


def estimate_summary(found: Estimate) -> dict[str, Any]:
    """Return the summary of an estimate."""
    metadata = _metadata(found)
    requests = _requests(found)
    end_s = _end_s(found, requests)
    window = _window(found, metadata, requests, end_s)
    pools = [_pool(one, requests.of_pool(index), window, end_s) for index, one in enumerate(found.pools)]
    finished = _finished_within(requests, window)
    cost_usd, gpu_hours = (sum(pool[name] for pool in pools) for name in ("cost_usd", "gpu_hours"))
    prompts, outputs = _useful_tokens(requests, window)
    rule = window_rule(found.study)
    return {
        "summary_version": SUMMARY_VERSION,
        "detail": "estimate",
        "name": metadata.name,
        "seed": metadata.seed,
        "predictor": ", ".join(dict.fromkeys(pool.predictor_label for pool in metadata.pools)),
        "tpot_bias_percent": TPOT_BIAS_PERCENT,
        "warnings": [
            SATURATED_WARNING.format(ratio=pool["load_ratio"], name=pool["name"])
            for pool in pools
            if pool["load_ratio"] > NEAR_LOAD_RATIO
        ],
        "simulated_s": end_s,
        "window": {
            "start_s": window.start_ns / NS_PER_S,
            "end_s": window.end_ns / NS_PER_S,
            "warmup": rule.warmup.kind,
            "measure": rule.measure.kind,
        },
        "load_ratio": max(pool["load_ratio"] for pool in pools),
        "requests": {
            "finished": finished,
            "refused": found.refused,
            "total": len(found.rows),
        },
        "throughput": _throughput(requests, window),
        "tpot_s": _mean_tpot_s(requests, window),
        "gpus": sum(one.planned.pool.replicas * one.planned.pool.gpus_per_replica for one in found.pools),
        "gpu_hours": gpu_hours,
        "cost_usd": cost_usd,
        "usd_per_million_output_tokens": cost_usd / outputs * 1e6 if outputs else None,
        "usd_per_million_tokens": cost_usd / (prompts + outputs) * 1e6 if outputs else None,
        "energy": {**_energy(pools, requests, end_s), "pools": [_pool_energy(pool) for pool in pools]},
        "pools": pools,
    }


def _metadata(found: Estimate) -> RunMetadata:
    study = found.study
    pools = tuple(one.planned.metadata(one.predictor) for one in found.pools)
    return RunMetadata(name=study.name, seed=study.seed, pools=pools, slo=study.slo, end_ns=found.plan.end_ns)


def _requests(found: Estimate) -> Requests:
    parts = [
        Requests(
            one.load.arrival_s,
            one.trajectory.first_token_s,
            one.trajectory.finish_s,
            one.load.output_tokens,
            one.load.prompt_tokens,
            np.full(len(one.numbers), index),
        )
        for index, one in enumerate(found.pools)
    ]
    order = np.argsort(np.concatenate([one.numbers for one in found.pools]))
    return Requests(*(np.concatenate(columns)[order] for columns in zip(*parts, strict=True)))


def _end_s(found: Estimate, requests: Requests) -> float:
    end_s = found.study.run.end_s
    if end_s is not None:
        return end_s
    return float(requests.finish_s[requests.is_finished].max(initial=float(requests.arrival_s[-1])))


def _window(found: Estimate, metadata: RunMetadata, requests: Requests, end_s: float) -> Window:
    """Return the measured window by the rule of full runs, with the estimated times of the requests."""
    arrivals_ns, ends_ns = (_ns(times) for times in (requests.arrival_s, requests.finish_s))
    totals = new_totals(metadata)
    totals.batch_means = BatchMeans()
    stays_ns = np.where(requests.is_finished, ends_ns - arrivals_ns, -1)
    totals.batch_means.add(np.arange(len(arrivals_ns)), arrivals_ns, stays_ns)
    totals.first_arrival_ns, totals.last_arrival_ns = int(arrivals_ns[0]), int(arrivals_ns[-1])
    totals.last_completion_ns = int(ends_ns[requests.is_finished].max(initial=-1))
    return find_window(window_rule(found.study), totals, round(end_s * NS_PER_S), lambda: arrivals_ns)


def _ns(times_s: Floats) -> Ints:
    times_ns: Ints = np.rint(np.where(np.isfinite(times_s), times_s, 0.0) * NS_PER_S).astype(np.int64)
    return times_ns


def _arrive_within(requests: Requests, window: Window) -> npt.NDArray[np.bool_]:
    return window.holds(_ns(requests.arrival_s))


def _finished_within(requests: Requests, window: Window) -> int:
    """Return how many requests that arrive in the window finish at all."""
    return int((_arrive_within(requests, window) & requests.is_finished).sum())


def _mean_tpot_s(requests: Requests, window: Window) -> dict[str, float | None]:
    counts = _arrive_within(requests, window) & requests.is_finished & (requests.output_tokens > 1)
    if not counts.any():
        return {"mean": None}
    took_s = requests.finish_s[counts] - requests.first_token_s[counts]
    return {"mean": float((took_s / (requests.output_tokens[counts] - 1)).mean())}


def _throughput(requests: Requests, window: Window) -> dict[str, float]:
    start_s, end_s, length_s = window.start_ns / NS_PER_S, window.end_ns / NS_PER_S, window.duration_s
    if not length_s:
        return dict.fromkeys(("requests_per_s", "output_tokens_per_s", "total_tokens_per_s"), 0.0)
    done = (requests.finish_s >= start_s) & (requests.finish_s < end_s)
    outputs = float(_tokens_within(requests, start_s, end_s).sum())
    begun = (requests.first_token_s >= start_s) & (requests.first_token_s < end_s)
    return {
        "requests_per_s": float(done.sum()) / length_s,
        "output_tokens_per_s": outputs / length_s,
        "total_tokens_per_s": (outputs + float(requests.prompt_tokens[begun].sum())) / length_s,
    }


def _tokens_within(requests: Requests, start_s: float, end_s: float) -> Floats:
    """Return the tokens of each request within two times, as if they came evenly from its first to its last."""
    has_begun = np.isfinite(requests.first_token_s)
    first = np.where(has_begun, requests.first_token_s, end_s)
    last = np.where(requests.is_finished, requests.finish_s, np.maximum(first, end_s))
    within_s = np.minimum(last, end_s) - np.maximum(first, start_s)
    took_s = np.maximum(last - first, 1e-9)
    tokens: Floats = np.clip(within_s / took_s, 0.0, 1.0) * requests.output_tokens
    # One that takes no time has all its tokens at once.
    return np.where((last == first) & (first >= start_s) & (first < end_s), requests.output_tokens, tokens)


def _useful_tokens(requests: Requests, window: Window) -> tuple[float, float]:
    """Return prompt and output tokens that finished requests had within the window."""
    start_s, end_s = window.start_ns / NS_PER_S, window.end_ns / NS_PER_S
    begun = requests.is_finished & (requests.first_token_s >= start_s) & (requests.first_token_s < end_s)
    outputs = _tokens_within(requests, start_s, end_s)[requests.is_finished].sum()
    return float(requests.prompt_tokens[begun].sum()), float(outputs)


def _pool(one: PoolEstimate, requests: Requests, window: Window, end_s: float) -> dict[str, Any]:
    planned, pool = one.planned, one.planned.pool
    start_s, stop_s = window.start_ns / NS_PER_S, window.end_ns / NS_PER_S
    last_s = min(stop_s, float(one.load.arrival_s[-1]))
    trajectory = one.trajectory
    throughput = _throughput(requests, window)
    running, waiting, kv_tokens = (
        _mean(trajectory.ticks_s, values, start_s, stop_s) / pool.replicas
        for values in (trajectory.running, trajectory.waiting, trajectory.kv_tokens)
    )
    arrived_per_s = int(_arrive_within(requests, window).sum()) / max(last_s - start_s, 1e-9)
    gpu_hours = window.duration_s * pool.replicas * pool.gpus_per_replica / 3600
    joules = _energy_j(one, requests, end_s)
    return {
        "name": pool.name,
        "model": planned.hardware.model.name,
        "device": planned.hardware.device.name,
        "replicas": pool.replicas,
        "gpus": pool.replicas * pool.gpus_per_replica,
        "load_ratio": one.load_ratio(start_s, last_s),
        "most_requests_per_s": one.most_rate_per_s * pool.replicas,
        "busy_ratio": _mean(trajectory.ticks_s, trajectory.busy, 0.0, end_s) / pool.replicas,
        "running_mean": running,
        "waiting_mean": waiting,
        "queue_s": {"mean": waiting * pool.replicas / arrived_per_s if arrived_per_s else None},
        "kv_used_ratio": kv_tokens / one.limits.kv_tokens,
        "throughput": throughput,
        "tpot_s": _mean_tpot_s(requests, window),
        "gpu_hours": gpu_hours,
        "cost_usd": gpu_hours * planned.usd_per_gpu_hour,
        **_energy_figures(joules, requests, end_s),
    }


def _mean(ticks_s: Floats, values: Floats, start_s: float, end_s: float) -> float:
    """Return the mean over time of what a pool has in each tick, between two times; 0 where nothing is left of them."""
    lengths = np.clip(np.minimum(ticks_s[1:], end_s) - np.maximum(ticks_s[:-1], start_s), 0.0, None)
    return float(values @ lengths) / (end_s - start_s) if end_s > start_s else 0.0


def _energy_j(one: PoolEstimate, requests: Requests, end_s: float) -> float:
    """Return the joules of a pool, from the work of all its replicas together."""
    pool, trajectory = one.planned.pool, one.trajectory
    lengths = np.diff(trajectory.ticks_s)
    busy_s = float(trajectory.busy @ lengths)
    prompts = requests.prompt_tokens[np.isfinite(requests.first_token_s)]
    decoded = float(_tokens_within(requests, 0.0, end_s).sum())
    model = EnergyModel(one.planned.hardware, pool.power_cap_w)
    return model.run_energy_j(
        round(end_s * pool.replicas * NS_PER_S),
        [round(busy_s * NS_PER_S)],
        [0],
        max(1, round(float(trajectory.steps.sum()))),
        int(prompts.sum() + decoded),
        int(trajectory.reads_tokens.sum()),
        int((prompts * (prompts + 1) // 2).sum()),
    )


def _energy_figures(joules: float, requests: Requests, end_s: float) -> dict[str, Any]:
    finished = requests.is_finished
    tokens = int(requests.output_tokens[finished].sum())
    return {
        "energy_j": joules,
        "energy_kwh": joules / J_PER_KWH,
        "mean_power_w": joules / end_s if end_s else None,
        "j_per_request": joules / int(finished.sum()) if finished.any() else None,
        "j_per_output_token": joules / tokens if tokens else None,
    }


def _energy(pools: list[dict[str, Any]], requests: Requests, end_s: float) -> dict[str, Any]:
    return _energy_figures(sum(pool["energy_j"] for pool in pools), requests, end_s)


def _pool_energy(pool: dict[str, Any]) -> dict[str, Any]:
    """Move the figures of energy from a pool's entry to one of their own."""
    names = ("energy_j", "energy_kwh", "mean_power_w", "j_per_request", "j_per_output_token")
    return {"name": pool["name"], **{name: pool.pop(name) for name in names}}
