"""Studies with prefill and decode pools, one for each connector, with equal results in every executor."""

import math
from dataclasses import replace
from typing import Any

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.recording.rows import FIELD
from cluster_sim.recording.statuses import STATUSES
from cluster_sim.routing.handover.connector_interface import CONNECTORS
from cluster_sim.simulation.inline import InlineExecutor
from cluster_sim.simulation.plan import make_plan
from tests.equality import equal_everywhere
from tests.evidence import evidence_of
from tests.simulation.handover_study import ENGINE_OF, pool, study


def rows_of(run: Study) -> list[dict[str, int]]:
    simulation = replace(make_plan(run).simulation(), keeps_rows=True)
    return [dict(zip(FIELD, row, strict=True)) for row in evidence_of(InlineExecutor(), simulation).rows]


@pytest.mark.parametrize("connector", CONNECTORS.names())
def test_every_connector_gives_the_same_bytes_everywhere(connector: str) -> None:
    """Inline, in single steps, one replica a group and in random groups with random delays, in a tight cache."""
    engine = ENGINE_OF[connector]
    pools = (pool("prefill", engine), pool("decode", engine))
    equal_everywhere(study(*pools, handover={"connector": connector}))


@pytest.mark.parametrize("connector", ["nixl", "sglang"])
@pytest.mark.parametrize("policy", ["dynamo_kv", "least_loaded"])
def test_policies_that_observe_more(policy: str, connector: str) -> None:
    """First tokens, or samples, of replicas of both kinds; equal everywhere."""
    engine = ENGINE_OF[connector]
    pools = (pool("prefill", engine), pool("decode", engine))
    equal_everywhere(study(*pools, handover={"connector": connector}, router={"policy": policy}), placements=1)


@pytest.mark.parametrize("connector", CONNECTORS.names())
def test_a_prompt_that_arrives_lets_others_in(connector: str) -> None:
    """Six prompts of 38 blocks with a prefix of 18, at a decode replica with 215: the sixth finds the prefix in the
    cache as soon as one has arrived, and gets the 20 blocks that it needs then, before any batch there.
    """
    engine = ENGINE_OF[connector]
    workload = {
        "kind": "synthetic",
        "count": 6,
        "arrivals": {"kind": "poisson", "request_rate": math.inf},
        "lengths": {"prompt": {"kind": "fixed", "value": 600}, "output": {"kind": "fixed", "value": 20}},
        "traits": {"prefix": {"levels": [{"count": 1, "tokens": 300}]}},
    }
    options = {"num_kv_blocks": 215, "enable_prefix_caching": True}
    pools = (pool(role, engine, engine_options=options, replicas=1) for role in ("prefill", "decode"))
    equal_everywhere(study(*pools, handover={"connector": connector}, workload=workload))


@pytest.mark.parametrize("connector", CONNECTORS.names())
def test_clients_that_give_up_leave_nothing_behind(connector: str) -> None:
    """In whatever phase they give up; every request has one row, and the same everywhere."""
    engine = ENGINE_OF[connector]
    router = {"policy": "round_robin", "client_timeout_s": 0.35}
    run = study(pool("prefill", engine), pool("decode", engine), handover={"connector": connector}, router=router)
    equal_everywhere(run)
    statuses = [STATUSES[row["status"]] for row in rows_of(run)]
    assert len(statuses) == 120
    assert statuses.count("cancelled") > 10
    assert statuses.count("finished") > 10


@pytest.mark.parametrize("decider", ["uncached_tokens", "prompt_length", "queue_length", "never"])
def test_deciders(decider: str) -> None:
    """Some requests are handed over and some are not, as the decider says."""
    options: dict[str, Any] = {"kind": decider}
    if decider == "uncached_tokens":
        options["least_tokens"] = 900
    handover = {"connector": "nixl", "decider": options}
    rows = rows_of(study(pool("prefill"), pool("decode"), handover=handover))
    handed = [row for row in rows if row["prefill_replica"] >= 0]
    assert (0 < len(handed) < 120) == (decider != "never")
    assert all(row["attempts"] == 1 + (row["prefill_replica"] >= 0) for row in rows)
    assert {row["replica"] for row in rows} <= {2, 3}


def test_rows_of_a_hand_over() -> None:
    """The prompt's blocks move, the transfer lies between prompt and first token, and no token is lost."""
    rows = rows_of(study(pool("prefill"), pool("decode"), handover={"connector": "nixl"}))
    for row in rows:
        assert row["prefill_replica"] in {0, 1}
        assert row["replica"] in {2, 3}
        assert row["transfer_bytes"] == -(-row["prompt_tokens"] // 16) * 16 * 131_072
        assert row["scheduled_ns"] < row["transfer_start_ns"]
        assert row["transfer_start_ns"] + row["transfer_ns"] < row["first_token_ns"]
        assert row["retries"] == 0


def test_answers_of_one_token_end_where_the_prompt_is_computed() -> None:
    """With a connector whose first token is the prefill replica's."""
    pools = (pool("prefill", "sglang"), pool("decode", "sglang"))
    lengths = {"prompt": {"kind": "fixed", "value": 500}, "output": {"kind": "uniform", "min": 1, "max": 3}}
    workload = {"kind": "synthetic", "count": 30, "arrivals": {"kind": "poisson", "request_rate": 30}}
    rows = rows_of(study(*pools, workload=workload | {"lengths": lengths}))
    short = [row for row in rows if row["output_tokens"] == 1]
    assert short
    assert all(row["replica"] in {0, 1} and row["prefill_replica"] < 0 for row in short)


def test_what_no_decode_replica_holds_is_refused() -> None:
    """A prefill pool with room for it does not help."""
    small = pool("decode", engine_options={"num_kv_blocks": 100})
    rows = rows_of(study(pool("prefill"), small, handover={"connector": "nixl"}))
    for row in rows:
        is_long = row["prompt_tokens"] + row["output_tokens"] - 1 > 99 * 16  # One block is the engine's.
        assert STATUSES[row["status"]] == ("refused" if is_long else "finished")
    assert any(STATUSES[row["status"]] == "refused" for row in rows)


def test_unequal_parallelism() -> None:
    """Two GPUs compute for four that decode, which repeat no head of eight: equal bytes."""
    rows = rows_of(study(pool("prefill", tensor_parallel=2), pool("decode", tensor_parallel=4)))
    assert all(row["transfer_bytes"] == -(-row["prompt_tokens"] // 16) * 16 * 131_072 for row in rows)


@pytest.mark.parametrize("connector", CONNECTORS.names())
def test_data_parallel_ranks(connector: str) -> None:
    """Each rank keeps the prompts that it has computed, and takes those that it has blocks for."""
    engine = ENGINE_OF[connector]
    if engine == "tensorrt_llm":
        pytest.skip("TensorRT-LLM has no ranks that step together here")
    ranks = {"model": "mixtral-8x7b", "data_parallel": 2, "expert_parallel": 4, "tensor_parallel": 2, "replicas": 1}
    run = study(pool("prefill", engine, **ranks), pool("decode", engine, **ranks), handover={"connector": connector})
    equal_everywhere(run, placements=1)
    assert all(STATUSES[row["status"]] == "finished" for row in rows_of(run))


@pytest.mark.parametrize("connector", CONNECTORS.names())
def test_back_pressure(connector: str) -> None:
    """A decode pool with room for two prompts holds the prefill pool back, and everything is served in the end."""
    engine = ENGINE_OF[connector]
    tight = pool("decode", engine, replicas=1, engine_options={"num_kv_blocks": 560})
    run = study(pool("prefill", engine), tight, handover={"connector": connector})
    equal_everywhere(run, placements=1)
    assert all(STATUSES[row["status"]] == "finished" for row in rows_of(run))


@pytest.mark.parametrize(
    ("pools", "message"),
    [
        ([pool("prefill")], "fleet.pools.0.role: prefill, but no pool decodes"),
        ([pool("decode")], "fleet.pools.0.role: decode, but no pool computes prompts"),
        ([pool("prefill", "orca"), pool("decode", "orca")], "fleet.pools.0.role: prefill: the engine orca hands no"),
        ([pool("prefill"), pool("decode", "sglang")], "fleet.pools.1.engine.kind: sglang, but the connector nixl"),
        (
            [pool("prefill"), pool("decode", engine_options={"block_size": 32})],
            "fleet.pools.1.engine.block_size: blocks hold 32 tokens here and 16",
        ),
        (
            [pool("prefill"), pool("decode", engine_options={"kv_cache_dtype": "fp8"})],
            "fleet.pools.1.engine.kv_cache_dtype: the cache is fp8 here",
        ),
        ([pool("encode"), pool("decode")], "fleet.pools.0.role: encode"),
    ],
)
def test_pairs_that_cannot_work_are_refused(pools: list[dict[str, Any]], message: str) -> None:
    """With the path of the key at fault."""
    with pytest.raises(InputError) as error:
        make_plan(study(*pools))
    assert str(error.value).startswith(message)
