"""Conversations: turns, contexts, think times, shared prefixes, broken sessions."""

import itertools
from collections.abc import Callable
from typing import Any

from tests.workload.sections import by_session, fixed, sessions


def test_every_session_ends_and_contexts_add_up(drive: Callable[..., Any]) -> None:
    """Each turn's prompt is all earlier prompts and outputs plus its own new tokens: one segment that grows."""
    source, driven = drive(sessions())
    assert (source.started, source.completed, source.broken, source.active) == (200, 200, 0, 0)
    for turns in by_session(driven.requests).values():
        assert [one.attributes.turn for one in turns] == list(range(len(turns)))
        context = 0
        names = {name for one in turns for name, _ in one.attributes.segments}
        for one in turns:
            assert 10 <= one.prompt_tokens - context <= 50
            assert [tokens for _, tokens in one.attributes.segments] == [one.prompt_tokens] * (len(turns) > 1)
            context = one.prompt_tokens + one.output_tokens
        assert all(one.attributes.output_segment in names for one in turns[:-1])
        assert len(names) == (len(turns) > 1)
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


def test_sessions_break_when_a_turn_fails(drive: Callable[..., Any]) -> None:
    """A refused or failed turn ends its session; every session is accounted for."""
    source, driven = drive(sessions(), status=lambda one: "failed" if one.request_id % 5 == 0 else "finished")
    assert source.completed + source.broken == 200
    assert source.active == 0
    by_id = by_session(driven.requests).values()
    assert all(one.request_id % 5 for turns in by_id for one in turns[:-1])
    assert source.broken == sum(turns[-1].request_id % 5 == 0 for turns in by_id) > 0


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
    """What the user does not see is not sent again, unless it is kept; with it dropped, nobody finds the output."""
    for kept in (False, True):
        traits = {"reasoning": {"ratio": fixed(0.5), "kept_in_context": kept}}
        _, driven = drive(sessions(turns=fixed(2), traits=traits))
        for one, two in by_session(driven.requests).values():
            visible = one.output_tokens - (0 if kept else one.attributes.reasoning_tokens)
            assert one.attributes.reasoning_tokens == round(one.output_tokens * 0.5)
            assert two.prompt_tokens - one.prompt_tokens - visible in range(10, 51)
            ((name, tokens),) = two.attributes.segments
            assert tokens == two.prompt_tokens
            assert one.attributes.output_segment == (name if kept else -1)


def test_a_short_first_prompt_ends_inside_the_shared_prefix(drive: Callable[..., Any]) -> None:
    """Of a prefix of 100 tokens only what the first prompt holds is shared; what follows belongs to the session."""
    prefix = {"levels": [{"count": 2, "tokens": 100}], "added": False}
    _, driven = drive(sessions(turns=fixed(3), traits={"prefix": prefix}))
    for first, *others in by_session(driven.requests).values():
        assert [tokens for _, tokens in first.attributes.segments] == [first.prompt_tokens]
        for one in others:
            shared, own = one.attributes.segments
            assert shared == first.attributes.segments[0]
            assert own == (first.attributes.output_segment, one.prompt_tokens - first.prompt_tokens)
