"""Speculative decoding: accepted drafts by their law, and runs that use them."""

import pytest
from pydantic import ValidationError

from cluster_sim.serving.schedulers.engine_options import engine_options
from cluster_sim.serving.sequence import Sequence
from cluster_sim.serving.speculation import Speculation, Speculative
from cluster_sim.workload.request import Request


def sequence(request_id: int, generated: int = 1, output_tokens: int = 1000) -> Sequence:
    made = Sequence(Request(request_id, 0, 10, output_tokens), 0, 0)
    made.generated = generated
    return made


def test_accepted_drafts_follow_the_closed_form() -> None:
    """With k = 3 and p = 0.8 a step accepts 0.8 + 0.64 + 0.512 = 1.952 drafts on average."""
    speculation = Speculation(Speculative(num_speculative_tokens=3, acceptance=(0.8,)), seed=1)
    accepted = [speculation.accepted(sequence(at), 3) for at in range(40_000)]
    assert sum(accepted) / len(accepted) == pytest.approx(1.952, rel=0.01)


def test_positions_have_their_own_probabilities() -> None:
    """A first draft that is always right and a second that never is give exactly one accepted draft."""
    speculation = Speculation(Speculative(num_speculative_tokens=4, acceptance=(1.0, 0.0)), seed=1)
    assert {speculation.accepted(sequence(at), 4) for at in range(100)} == {1}


def test_no_draft_beyond_the_output() -> None:
    """With two tokens left one draft is verified, with one left none, whatever k is."""
    speculation = Speculation(Speculative(num_speculative_tokens=5), seed=1)
    assert speculation.drafts(sequence(0, 8, 10), 100) == 1
    assert speculation.drafts(sequence(0, 9, 10), 100) == 0


def test_draws_depend_on_request_and_stalls_alone() -> None:
    """The same request at the same token draws the same, whoever asked before."""
    speculation = Speculation(Speculative(num_speculative_tokens=3), seed=7)
    first = [speculation.accepted(sequence(5, at), 3) for at in range(1, 50)]
    assert first == [speculation.accepted(sequence(5, at), 3) for at in range(1, 50)]


def test_probabilities_out_of_range_are_refused() -> None:
    """An acceptance of 1.2 is no probability."""
    with pytest.raises(ValueError, match="less than or equal to 1"):
        Speculative(acceptance=(1.2,))


def test_other_engines_refuse_drafts() -> None:
    """Orca has no speculative decoding: validation says so."""
    with pytest.raises(ValidationError, match=r"speculative\n  Extra inputs are not permitted"):
        engine_options(kind="orca", speculative=Speculative())
