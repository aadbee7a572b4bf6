"""Responses: when the router has the last token of each request, and what goes with it."""

from cluster_sim.recording.statuses import FINISHED
from cluster_sim.serving.handover.messages import PrefillLeg, PrefillProgress
from cluster_sim.serving.messages import Dispatch, Response
from tests.serving.handover.small_replica import RETURN_NS, answers, replica, request, send


def test_one_token_leaves_with_the_end_of_its_batch() -> None:
    """Scheduled at 100 ns, the step takes 10 us and 1 us for each of ten tokens: 20,100 ns, and 500 ns of the link."""
    served = replica()
    send(served, 100, 3, Dispatch(request(3, 10, 1), 2))
    ((at_ns, answer),) = answers(served)
    assert RETURN_NS == 500
    assert (at_ns, answer) == (20_600, Response(3, 2, FINISHED, 100, 20_600, 20_600, 0, 0))


def test_a_prompt_for_another_replica_is_progress_and_no_response() -> None:
    """The leg's one token ends it here: one message says that all 10 tokens are computed, and no request is left."""
    served = replica()
    send(served, 100, 3, PrefillLeg(request(3, 10, 5), 0))
    ((_, answer),) = answers(served)
    assert isinstance(answer, PrefillProgress)
    assert (answer.request_id, answer.computed_tokens) == (3, 10)
    assert (served.log.entered, served.log.left) == (1, 1)


def test_responses_are_joined_again_after_a_restore() -> None:
    """A snapshot holds none of them: a replica that takes it back answers as the one that was dropped."""
    first, second = replica(), replica()
    send(first, 100, 3, Dispatch(request(3, 10, 4), 0))
    assert answers(first, until_ns=101) == []
    state = first.snapshot()
    assert b"responses" not in state
    second.restore(state)
    assert second.snapshot() == state
    assert answers(second) == answers(first)
