"""Workloads that react to how requests fare: sessions, closed loop, agents, limited clients."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.config.errors import InputError
from cluster_sim.workload.build import build_columns, build_source, reacts, total_requests
from cluster_sim.workload.request import Request
from cluster_sim.workload.source import FeedbackSource

LENGTHS = {
    "prompt": {"kind": "uniform", "min": 10, "max": 50},
    "output": {"kind": "uniform", "min": 5, "max": 20},
}
POISSON = {"kind": "poisson", "request_rate": 10}


def fixed(value: float) -> dict[str, Any]:
    return {"kind": "fixed", "value": value}


def sessions(**more: Any) -> dict[str, Any]:
    base = {
        "kind": "sessions", "arrivals": POISSON, "count": 200, "lengths": LENGTHS,
        "turns": {"kind": "geometric", "continue_probability": 0.7, "max": 10},
        "think_time_s": {"kind": "exponential", "mean": 2},
    }  # fmt: skip
    return base | more


def closed_loop(**more: Any) -> dict[str, Any]:
    base = {"kind": "closed_loop", "users": 20, "count": 500, "lengths": LENGTHS, "think_time_s": fixed(0.5)}
    return base | more


AGENT = {
    "kind": "agentic",
    "arrivals": POISSON,
    "count": 100,
    "steps": [
        {"name": "plan", "lengths": LENGTHS},
        {"name": "tool", "after": ["plan"], "wait_s": {"kind": "exponential", "mean": 1},
         "repeat": {"kind": "uniform", "min": 1, "max": 4}, "lengths": LENGTHS},
        {"name": "check", "after": ["tool"], "probability": 0.5, "context": "first", "lengths": LENGTHS},
        {"name": "answer", "after": ["check", "plan"], "lengths": LENGTHS},
    ],
}  # fmt: skip


def by_session(requests: list[Request]) -> dict[int, list[Request]]:
    found: dict[int, list[Request]] = defaultdict(list)
    for request in requests:
        found[request.attributes.session_id].append(request)
    return found


def test_every_session_ends_and_contexts_add_up(drive: Callable[..., Any]) -> None:
    """Each turn's prompt is all earlier prompts and outputs plus its own new tokens, and segments say so."""
    source, driven = drive(sessions())
    assert (source.started, source.completed, source.broken, source.active) == (200, 200, 0, 0)
    for turns in by_session(driven.requests).values():
        assert [one.attributes.turn for one in turns] == list(range(len(turns)))
        context = 0
        chain: tuple[Any, ...] = ()
        for one in turns:
            segments = one.attributes.segments
            assert segments[: len(chain)] == chain
            if segments:
                assert sum(tokens for _, tokens in segments) == one.prompt_tokens
                assert 10 <= one.prompt_tokens - context <= 50
            context = one.prompt_tokens + one.output_tokens
            chain = (*segments, (one.attributes.output_segment, one.output_tokens))
        assert turns[-1].attributes.output_segment == -1, "what nobody will send again has no id"


def test_turns_wait_for_the_turn_before(drive: Callable[..., Any]) -> None:
    """A turn starts its own think time after the end of the one before, whenever that is."""
    gaps = []
    for delay in (10**8, 10**10):
        _, driven = drive(sessions(), service_ns=lambda _, delay=delay: delay)
        ends = {one.request_id: driven.ends[one.request_id] for one in driven.requests}
        gaps.append({
            two.request_id: two.arrival_ns - ends[one.request_id]
            for turns in by_session(driven.requests).values()
            for one, two in itertools.pairwise(turns)
        })  # fmt: skip
    assert gaps[0] == gaps[1]
    assert min(gaps[0].values()) >= 1_000_000


@settings(max_examples=15, deadline=None)
@given(
    services=st.lists(st.integers(1, 10**10), min_size=7, max_size=7), which=st.sampled_from(["sessions", "agentic"])
)
def test_what_is_drawn_does_not_depend_on_what_happens(services: list[int], which: str) -> None:
    """Ids, lengths and contents are the same however fast requests are served."""
    section = sessions(count=30) if which == "sessions" else {**AGENT, "count": 30}
    reference = made(section, lambda _: 10**6)
    assert made(section, lambda request: services[request.request_id % 7]) == reference


def made(section: dict[str, Any], service_ns: Callable[[Request], int]) -> dict[int, Any]:
    from pydantic import TypeAdapter

    from cluster_sim.config.workload import WorkloadConfig

    source = build_source(TypeAdapter(WorkloadConfig).validate_python(section), 3)
    assert isinstance(source, FeedbackSource)
    waiting = [request for chunk in source.initial() for request in chunk]
    found: dict[int, Any] = {}
    while waiting:
        waiting.sort(key=lambda one: one.arrival_ns + service_ns(one))
        request = waiting.pop(0)
        found[request.request_id] = (request.prompt_tokens, request.output_tokens, request.attributes)
        waiting += source.on_end(request, request.arrival_ns + service_ns(request), "finished")
    return found


def test_sessions_break_when_a_turn_fails(drive: Callable[..., Any]) -> None:
    """A refused or failed turn ends its session; every session is accounted for."""
    source, driven = drive(sessions(), status=lambda one: "failed" if one.request_id % 5 == 0 else "finished")
    assert source.completed + source.broken == 200
    assert source.active == 0
    for turns in by_session(driven.requests).values():
        assert all(one.request_id % 5 for one in turns[:-1])


def test_context_limit_ends_sessions(drive: Callable[..., Any]) -> None:
    """No later turn is sent whose prompt plus output exceeds the limit."""
    source, driven = drive(sessions(max_context_tokens=150, turns=fixed(10)))
    assert source.completed == 0
    assert source.broken == 200
    later = [one for one in driven.requests if one.attributes.turn]
    assert later
    assert all(one.prompt_tokens + one.output_tokens <= 150 for one in later)


def test_without_accumulation_turns_stand_alone(drive: Callable[..., Any]) -> None:
    """Turns share the session but not the content."""
    _, driven = drive(sessions(accumulate=False))
    assert all(10 <= one.prompt_tokens <= 50 for one in driven.requests)
    assert all(one.attributes.output_segment == -1 for one in driven.requests)


def test_system_prompts_are_shared_between_sessions(drive: Callable[..., Any]) -> None:
    """A session keeps its prefix over all turns, on top of what is drawn; sessions of one prefix share its id."""
    prefix = {"levels": [{"count": 2, "tokens": 100}, {"count": 3, "tokens": 30}]}
    _, driven = drive(sessions(traits={"prefix": prefix}))
    heads = {
        session: {one.attributes.segments[:2] for one in turns}
        for session, turns in by_session(driven.requests).items()
    }
    assert all(len(head) == 1 for head in heads.values())
    assert len(set.union(*heads.values())) == 6
    firsts = [one for one in driven.requests if one.attributes.turn == 0]
    assert all(140 <= one.prompt_tokens <= 180 for one in firsts)


def test_reasoning_is_left_out_of_later_prompts(drive: Callable[..., Any]) -> None:
    """What the user does not see is not sent again, unless it is kept; dropped reasoning makes new content."""
    for kept in (False, True):
        traits = {"reasoning": {"ratio": fixed(0.5), "kept_in_context": kept}}
        _, driven = drive(sessions(turns=fixed(2), traits=traits))
        for one, two in by_session(driven.requests).values():
            visible = one.output_tokens - (0 if kept else one.attributes.reasoning_tokens)
            assert one.attributes.reasoning_tokens == round(one.output_tokens * 0.5)
            assert two.attributes.segments[1][1] == visible
            assert (two.attributes.segments[1][0] == one.attributes.output_segment) is kept
            assert (one.attributes.output_segment >= 0) is kept


def test_closed_loop_keeps_one_request_a_user(drive: Callable[..., Any]) -> None:
    """Never more in flight than users; ids are user + turn * users; thinking takes its time."""
    source, driven = drive(closed_loop())
    assert driven.most_in_flight <= 20
    assert sorted(driven.ends) == list(range(500))
    assert source.think_floor_ns == 500_000_000, "a fixed thought is all lookahead"
    by_user = by_session(driven.requests)
    assert len(by_user) == 20
    for user, turns in by_user.items():
        assert [one.request_id for one in turns] == [user + turn * 20 for turn in range(25)]
        for one, two in itertools.pairwise(turns):
            assert two.arrival_ns - driven.ends[one.request_id] == 500_000_000


def test_closed_loop_throughput_follows_littles_law(drive: Callable[..., Any]) -> None:
    """N users with think time Z and response time R make N / (R + Z) requests a second."""
    section = closed_loop(
        users=50, count=None, duration_s=2000, think_time_s={"kind": "exponential", "mean": 4}, ramp_s=5
    )
    _, driven = drive(section, service_ns=lambda _: 10**9)
    assert len(driven.requests) / 2000 == pytest.approx(50 / 5, rel=0.02)
    assert max(one.arrival_ns for one in driven.requests) < 2000 * 10**9


def test_closed_loop_users_go_on_after_failures(drive: Callable[..., Any]) -> None:
    """A user sends the next request whatever became of the last."""
    _, driven = drive(closed_loop(), status=lambda _: "refused")
    assert len(driven.requests) == 500


def test_more_users_than_requests(drive: Callable[..., Any]) -> None:
    """A count below the number of users is kept; a ramp spreads the starts."""
    _, driven = drive(closed_loop(users=100, count=30, ramp_s=10))
    assert [one.arrival_ns for one in driven.requests] == [user * 10**8 for user in range(30)]


def test_limited_client_is_a_semaphore(drive: Callable[..., Any], rows: Callable[..., Any]) -> None:
    """Requests leave in order, on time while there is room, else when a place is free: as a queue of 8 servers."""
    section = {
        "kind": "synthetic",
        "arrivals": {"kind": "poisson", "request_rate": 20},
        "count": 3000,
        "lengths": LENGTHS,
    }
    wanted = rows(section).arrival_ns.tolist()
    source, driven = drive({**section, "max_concurrency": 8}, service_ns=lambda one: 10**7 * one.output_tokens)
    assert source.think_floor_ns == 1
    assert driven.most_in_flight == 8
    assert [one.request_id for one in driven.requests] == list(range(3000))
    free: list[int] = []
    for request, due in zip(driven.requests, wanted, strict=True):
        start = due if len(free) < 8 else max(due, sorted(free)[-8] + 1)
        assert request.arrival_ns == start
        free.append(start + 10**7 * request.output_tokens)
        free = sorted(free)[-8:]


def test_a_reaction_time_is_lookahead(drive: Callable[..., Any]) -> None:
    """A client that takes 5 ms to react gives the simulation 5 ms."""
    section = {"kind": "synthetic", "arrivals": POISSON, "count": 50, "lengths": LENGTHS}
    source, _ = drive({**section, "max_concurrency": 2, "reaction_ms": 5})
    assert source.think_floor_ns == 5_000_000


def test_agentic_sessions_follow_their_graph(drive: Callable[..., Any]) -> None:
    """A call starts when all its parents have ended; every session ends; joins carry all outputs."""
    source, driven = drive(AGENT)
    assert (source.started, source.completed, source.broken, source.active) == (100, 100, 0, 0)
    branches = Counter()
    for calls in by_session(driven.requests).values():
        slots = {one.attributes.turn: one for one in calls}
        assert min(slots) == 0
        tools = [slot for slot in slots if 1 <= slot <= 16]
        branches[len(tools)] += 1
        last = max(slots)
        answer = slots[last]
        assert answer.arrival_ns >= max(driven.ends[one.request_id] for one in calls if one is not answer)
        for slot in tools:
            assert slots[slot].attributes.segments[0] == slots[0].attributes.segments[0]
            assert slots[slot].attributes.segments[1] == (slots[0].attributes.output_segment, slots[0].output_tokens)
        for one in calls:
            assert one.prompt_tokens == sum(tokens for _, tokens in one.attributes.segments)
        carried = {segment for segment, _ in answer.attributes.segments}
        heads = [slot for slot in slots if 16 < slot < last] or tools
        assert all(slots[slot].attributes.output_segment in carried for slot in heads)
    assert sorted(branches) == [1, 2, 3, 4]


def test_agentic_sessions_break_when_a_call_fails(drive: Callable[..., Any]) -> None:
    """After a failed call nothing more is started, and the session is accounted for."""
    source, _ = drive(AGENT, status=lambda one: "failed" if one.request_id % 3 == 0 else "finished")
    assert source.completed + source.broken == 100
    assert source.active == 0


def test_clients_with_conversations(drive: Callable[..., Any]) -> None:
    """Arrivals are shared out by share; conversing profiles continue, the others send one request."""
    profiles = [
        {"name": "chat", "share": 3, "lengths": LENGTHS,
         "conversation": {"turns": fixed(3), "think_time_s": fixed(1), "probability": 0.5}},
        {"name": "batch", "share": 1, "lengths": LENGTHS, "traits": {"priority": 5, "tenant": "acme"}},
    ]  # fmt: skip
    section = {"kind": "clients", "arrivals": POISSON, "count": 2000, "profiles": profiles}
    source, driven = drive(section)
    assert source.completed == 2000
    tenants = Counter(one.attributes.tenant for one in driven.requests if one.attributes.turn == 0)
    assert tenants["chat"] / 2000 == pytest.approx(0.75, abs=0.03)
    lengths = Counter(len(turns) for turns in by_session(driven.requests).values())
    assert lengths[3] / 1500 == pytest.approx(0.5, abs=0.05)
    assert lengths[1] + lengths[3] == 2000
    assert {one.attributes.priority for one in driven.requests if one.attributes.tenant == "acme"} == {5}


def test_open_loop_clients(requests: Callable[..., Any]) -> None:
    """Without conversations clients are open loop: ids in order, shares kept, each profile its own traits."""
    profiles = [
        {"name": "a", "share": 1, "lengths": {"prompt": fixed(1), "output": fixed(1)}},
        {"name": "b", "share": 4, "lengths": {"prompt": fixed(2), "output": fixed(2)}, "traits": {"slo_class": "gold"}},
    ]
    section = {"kind": "clients", "arrivals": POISSON, "count": 10_000, "profiles": profiles}
    made_requests = requests(section)
    assert [one.request_id for one in made_requests] == list(range(10_000))
    gold = [one for one in made_requests if one.attributes.slo_class == "gold"]
    assert len(gold) / 10_000 == pytest.approx(0.8, abs=0.02)
    assert {(one.prompt_tokens, one.attributes.tenant) for one in gold} == {(2, "b")}


def test_mixing_feedback_and_open_loop(drive: Callable[..., Any]) -> None:
    """Parts keep their own behaviour; ids interleave and stay unique."""
    parts = [{"kind": "synthetic", "arrivals": POISSON, "count": 100, "lengths": LENGTHS}, closed_loop(), sessions()]
    source, driven = drive({"kind": "mix", "parts": parts})
    kinds = Counter(one.request_id % 3 for one in driven.requests)
    assert kinds[0] == 100
    assert kinds[1] == 500
    assert source.think_floor_ns == 1_000_000
    alone, _ = drive(closed_loop())
    assert isinstance(alone, FeedbackSource)


def test_feedback_has_its_place(parse: Callable[..., Any]) -> None:
    """What reacts cannot be a phase, nor stand in a mix with a limit, nor be written as columns."""
    phases = {"kind": "phases", "phases": [{"duration_s": 1, "workload": closed_loop()}]}
    with pytest.raises(InputError, match="cannot stand inside phases"):
        build_source(parse(**phases), 1)
    with pytest.raises(InputError, match="need parts that do not react"):
        build_source(parse(kind="mix", parts=[closed_loop()], max_concurrency=3), 1)
    with pytest.raises(InputError, match="'closed_loop' reacts to how requests fare"):
        build_columns(parse(**closed_loop()), 1)


def test_what_reacts_and_totals(parse: Callable[..., Any]) -> None:
    """The builder knows which workloads react, and how many requests they make where the study says so."""
    synthetic = {"kind": "synthetic", "arrivals": POISSON, "count": 100, "lengths": LENGTHS}
    assert not reacts(parse(**synthetic))
    assert reacts(parse(**synthetic, max_concurrency=5))
    assert reacts(parse(kind="mix", parts=[synthetic, closed_loop()]))
    assert total_requests(parse(**closed_loop())) == 500
    assert total_requests(parse(kind="mix", parts=[synthetic, closed_loop()])) == 600
    assert total_requests(parse(**sessions())) is None
    assert total_requests(parse(kind="mix", parts=[synthetic, sessions()])) is None


def test_repeated_starts_are_equal(parse: Callable[..., Any]) -> None:
    """``initial`` starts over and gives the same requests."""
    for section in (sessions(), closed_loop(), AGENT):
        source = build_source(parse(**section), 9)
        assert isinstance(source, FeedbackSource)
        once, twice = ([repr(one) for chunk in source.initial() for one in chunk] for _ in range(2))
        assert once == twice
