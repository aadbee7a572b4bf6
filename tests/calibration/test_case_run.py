"""Runs of cases: the client's behaviour and the engine's, on runs small enough to follow by hand."""

import dataclasses

import numpy as np
import pytest

from cluster_sim.calibration.case import Case, Requests
from cluster_sim.calibration.case_run import resolve_case, run_case
from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.kinds.linear import LinearOptions, LinearPredictor
from cluster_sim.hardware.predictors.lockstep import LockstepPredictor
from tests.hardware.replicas import hardware


def make_case(arrivals, *, outputs=3, prompt=16, **changes):
    count = len(arrivals)
    requests = Requests(
        np.array(arrivals, np.float64),
        np.full(count, prompt, np.int64),
        np.full(count, outputs, np.int64),
        np.zeros(count, np.int64),
        changes.pop("prompt_ids", None),
    )
    engine = {"kind": "vllm_v1", "async_scheduling": False, "max_num_seqs": 8, "max_num_batched_tokens": 512}
    engine |= changes.pop("engine", {})
    return Case("d", "r", "meta-llama/Llama-3.1-8B", "H100", 1, "w", requests, engine, **changes)


def steps(alpha_us=10_000.0, beta_us=0.0):
    return LinearPredictor(LinearOptions(alpha_us=alpha_us, beta_us=beta_us), hardware("llama-3.1-8b"))


def test_a_request_alone_takes_one_step_a_token():
    """With steps of 10 ms three tokens take 30 ms and the first one 10 ms."""
    case = make_case([0.0])
    result = run_case(resolve_case(case), steps())
    assert result.ttft_s.tolist() == [pytest.approx(0.010)]
    assert result.e2e_s.tolist() == [pytest.approx(0.030)]


def test_a_limited_client_waits_for_a_response():
    """With one request in flight the second is sent when the first has ended, and is measured from then."""
    case = make_case([0.0, 0.001], in_flight_limit=1)
    result = run_case(resolve_case(case), steps())
    assert result.sent_s.tolist() == [pytest.approx(0.0), pytest.approx(0.030, abs=1e-6)]
    assert result.e2e_s.tolist() == [pytest.approx(0.030), pytest.approx(0.030)]


def test_a_limited_client_keeps_its_schedule_below_the_limit():
    """A request that is due after the first has ended leaves on time."""
    case = make_case([0.0, 5.0], in_flight_limit=1)
    assert run_case(resolve_case(case), steps()).sent_s.tolist() == [0.0, pytest.approx(5.0)]


def test_what_the_client_gives_up_has_no_latency():
    """With a time-out of 15 ms a request of 30 ms is never finished."""
    case = make_case([0.0], client_timeout_s=0.015)
    result = run_case(resolve_case(case), steps())
    assert np.isnan(result.e2e_s).all()


def test_equal_prompt_ids_share_their_blocks():
    """The second request of a prompt computes its last block only: with 1 ms a token, 16 ms instead of 64."""
    engine = {"enable_prefix_caching": True, "max_num_batched_tokens": 4096}
    case = make_case([0.0, 9.0], prompt=64, prompt_ids=np.array([7, 7]), engine=engine)
    result = run_case(resolve_case(case), steps(alpha_us=0.001, beta_us=1000.0))
    assert result.ttft_s.tolist() == [pytest.approx(0.064, rel=1e-3), pytest.approx(0.016, rel=1e-3)]


def test_unknown_names_are_input_errors():
    """A model or GPU that no library has is refused with the known names, not with a traceback."""
    base = make_case([0.0])
    for changes, message in (
        ({"model": "nobody/nothing"}, "unknown model 'nobody/nothing'; known: .*llama-3-8b"),
        ({"device": "abacus"}, "unknown device 'abacus'; known: .*h100-sxm"),
    ):
        fields = {name: getattr(base, name) for name in base.__slots__} | changes
        with pytest.raises(InputError, match=message):
            resolve_case(Case(**fields))


def test_ranks_share_the_experts():
    """Two ranks of a model with 128 experts hold 64 each, which leaves both more KV blocks than a server of its own."""
    base = make_case([0.0], replicas=2)
    fields = {name: getattr(base, name) for name in base.__slots__} | {"model": "Qwen/Qwen3-30B-A3B"}
    alone, shared = (resolve_case(Case(**fields | {"is_data_parallel": value})) for value in (False, True))
    assert (alone.hardware.experts.ranks, shared.hardware.experts.ranks) == (1, 2)
    freed = 48 * 64 * 3 * 2048 * 768 * 2 / (48 * 2 * 4 * 128 * 2 * 16)
    assert shared.limits.kv_blocks - alone.limits.kv_blocks == pytest.approx(freed, rel=0.03)


def test_ranks_of_a_mixture_of_experts_step_together():
    """Of two requests at once each runs in a rank of its own, in the same steps; a dense model's ranks are servers."""
    dense = make_case([0.0, 0.0], replicas=2, is_data_parallel=True)
    assert resolve_case(dense).hardware.experts.ranks == 1
    case = dataclasses.replace(dense, model="mistralai/Mixtral-8x7B-v0.1", device="H200")
    result = run_case(resolve_case(case), LockstepPredictor(steps(beta_us=100.0), 2))
    assert result.e2e_s.tolist() == [pytest.approx(0.0318), pytest.approx(0.0318)]
    assert not run_case(resolve_case(case), LockstepPredictor(steps(beta_us=100.0), 2), is_watched=True).is_on_edge
