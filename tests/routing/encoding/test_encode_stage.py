"""Encoders apart from the replicas: when requests with media are routed, and equal results everywhere."""

from pathlib import Path
from typing import Any

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.simulation.run import run_study
from cluster_sim.simulation.run_options import RunOptions
from tests.actors.matrix import study_of
from tests.equality import equal_everywhere

MEDIA = {"items": {"kind": "fixed", "value": 2}, "tokens_per_item": {"kind": "fixed", "value": 50}}


def media_study(encoders: dict[str, Any] | None, count: int = 4, media: dict[str, Any] = MEDIA, **parts: Any) -> Study:
    """Return a study whose requests have 100 encoder tokens each and arrive every 10 ms."""
    lengths = {"prompt": {"kind": "fixed", "value": 200}, "output": {"kind": "fixed", "value": 5}}
    workload = {
        "kind": "synthetic",
        "count": count,
        "arrivals": {"kind": "constant", "request_rate": 100},
        "lengths": lengths,
        "traits": {"multimodal": media},
    }
    pool = {"name": "main", "model": "llama-3-8b", "device": "h100-sxm", "replicas": 2}
    defaults: dict[str, Any] = {
        "name": "media",
        "seed": 3,
        "workload": workload,
        "fleet": {"pools": [pool], "encoders": encoders},
        "router": {"policy": "round_robin"},
        "predictor": {"kind": "linear", "alpha_us": 1000.0},
    }
    return study_of(**(defaults | parts))


def waits_ms(study: Study) -> list[float]:
    """Return how long after its arrival each request was sent to a replica."""
    evidence = equal_everywhere(study)
    times_ns = zip(evidence.column("dispatch_ns"), evidence.column("arrival_ns"), strict=True)
    return [(dispatch_ns - arrival_ns) / 1e6 for dispatch_ns, arrival_ns in times_ns]


def test_requests_wait_for_the_encoder_that_is_free_first() -> None:
    """100 tokens take 50 ms and 5 ms, and the embeddings 3 ms; two encoders take turns with arrivals 10 ms apart.

    The third request begins when the first is done, 35 ms after its arrival; the fourth likewise.
    """
    encoders = {"instances": 2, "tokens_per_s": 2000, "overhead_ms": 5, "transfer_ms": 3}
    assert waits_ms(media_study(encoders)) == [58.0, 58.0, 93.0, 93.0]


def test_rows_say_when_media_were_encoded() -> None:
    """From the routing of a request to the arrival of its embeddings, waiting for an encoder included."""
    study = media_study({"instances": 2, "tokens_per_s": 2000, "overhead_ms": 5, "transfer_ms": 3})
    evidence = equal_everywhere(study)
    assert evidence.column("encode_start_ns") == evidence.column("arrival_ns")
    assert evidence.column("encoded_ns") == evidence.column("dispatch_ns")


def test_requests_without_media_pass() -> None:
    """None of their time is spent at encoders."""
    media = {**MEDIA, "probability": 0.0}
    assert waits_ms(media_study({"tokens_per_s": 10}, media=media)) == [0.0] * 4


@pytest.mark.parametrize("overhead_ms", [0.0, 30.0])
def test_clients_give_up_and_tries_again_find_the_embeddings(overhead_ms: float) -> None:
    """With time-outs, crashes and retries every request has one row, the same in every executor."""
    study = media_study(
        {"instances": 1, "tokens_per_s": 5000, "overhead_ms": overhead_ms},
        count=40,
        router={"policy": "least_outstanding", "client_timeout_s": 0.4, "retries": {"max_retries": 2}},
        faults=[{"kind": "crash", "replicas": [0], "at_s": 0.2, "duration_s": 0.1}],
    )
    evidence = equal_everywhere(study)
    assert len(evidence.rows) == 40


def test_encoders_count_in_cost_and_energy(tmp_path: Path) -> None:
    """Two encoders, 4 requests of 20 ms: 80 ms of work; GPU hours, price and joules come on top of the fleet's."""
    encoders = {"instances": 2, "tokens_per_s": 10_000, "overhead_ms": 10}
    priced = encoders | {"gpus": 3, "usd_per_gpu_hour": 2.0, "idle_w": 100, "busy_w": 300}
    free, paid = (
        run_study(media_study(each), RunOptions(executor="inline", out=tmp_path / name)).summary
        for name, each in (("free", encoders), ("paid", priced))
    )
    entry, end_s = paid["encoders"], paid["simulated_s"]
    assert (entry["instances"], entry["gpus"], entry["requests"]) == (2, 6, 4)
    assert entry["busy_s"] == pytest.approx(0.08)
    assert entry["busy_ratio"] == pytest.approx(0.08 / (2 * end_s))
    window_s = paid["window"]["end_s"] - paid["window"]["start_s"]
    assert entry["gpu_hours"] == pytest.approx(6 * window_s / 3600)
    assert paid["cost_usd"] - free["cost_usd"] == pytest.approx(entry["gpu_hours"] * 2)
    assert paid["gpus"] - sum(pool["gpus"] for pool in paid["pools"]) == 6
    joules = 100 * (2 * end_s - 0.08) + 300 * 0.08
    assert paid["energy"]["energy_j"] - free["energy"]["energy_j"] == pytest.approx(joules)
    assert (free["encoders"]["cost_usd"], free["encoders"]["energy_j"]) == (0, 0)


def test_work_beyond_the_end_is_not_the_runs(tmp_path: Path) -> None:
    """An encoder with 100 ms of work for every request, which come every 10 ms from the first on, works to the end."""
    study = media_study({"instances": 1, "tokens_per_s": 1000}, count=20, run={"end_s": 0.25})
    summary = run_study(study, RunOptions(executor="inline", out=tmp_path / "run")).summary
    first_s = 0.25 - summary["encoders"]["busy_s"]
    assert 0 <= first_s <= 0.0101
