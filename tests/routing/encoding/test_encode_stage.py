"""Encoders apart from the replicas: when requests with media are routed, and equal results everywhere."""

from typing import Any

import pytest

from cluster_sim.config.schema.study import Study
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
