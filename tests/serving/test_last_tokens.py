"""Times of last tokens: gaps of pooled and of single decodes, in one batch and in joint ones."""

from cluster_sim.recording.replica_log import ReplicaLog
from cluster_sim.serving.last_tokens import LastTokens, TokenGaps, set_last_tokens
from cluster_sim.serving.sequence import Sequence
from cluster_sim.workload.request import Request


def sequence_at(request_id: int, last_token_ns: int) -> Sequence:
    sequence = Sequence(Request(request_id, 0, 4, 8), 0, 0)
    sequence.last_token_ns = last_token_ns
    return sequence


def recorded(gaps: TokenGaps, end_ns: int, tokens: int) -> tuple[int, int, int]:
    """Return the tokens, the sum and the number of the gaps that a log has counted after one step."""
    log = ReplicaLog(0)
    gaps.record(log, end_ns, 0, tokens)
    counters = log.counters()
    return counters.generated_tokens, counters.itl_sum_ns, log.gaps().count


def test_members_share_one_time_but_those_that_joined_later() -> None:
    """Of three members, two got their token at 500 and one at 460; the next at 600 is 100, 100 and 140 later."""
    times = LastTokens()
    times.gather([sequence_at(1, 500), sequence_at(2, 460), sequence_at(3, 500)])
    assert times.time_ns == 500
    assert [sequence.request_id for sequence in times.unsynchronised] == [2]
    assert not times.are_all_at(500)
    gaps = times.gaps(3)
    assert (gaps.pooled, gaps.since_ns, gaps.others_ns) == (2, 500, [460])
    assert recorded(gaps, 600, 3) == (3, 340, 3)


def test_a_step_synchronises_those_that_got_a_token_with_it() -> None:
    """A newest member that gets its first token at the end of the pool's step is synchronised, another is not."""
    times = LastTokens()
    new, late = sequence_at(1, -1), sequence_at(2, 300)
    times.unsynchronised = [new, late]
    set_last_tokens([new], [], 700)
    times.synchronise(700)
    assert times.unsynchronised == [late]
    times.remove(late)
    times.remove(new)
    assert times.are_all_at(700)
    assert not times.are_all_at(701)


def test_members_get_their_times_back() -> None:
    """A pool that dissolves gives its time to all but the members that have a later one of their own."""
    times = LastTokens()
    old, new = sequence_at(1, 100), sequence_at(2, 800)
    times.time_ns, times.unsynchronised = 700, [new]
    times.write_back([old, new])
    assert (old.last_token_ns, new.last_token_ns) == (700, 800)
    assert times.unsynchronised == [new]


def test_a_member_that_leaves_gets_its_time_back() -> None:
    """One that decoded in the pool's last step has that step's time, one that joined since keeps its own."""
    times = LastTokens()
    old, new = sequence_at(1, 100), sequence_at(2, 800)
    times.time_ns, times.unsynchronised = 700, [new]
    times.remove(old)
    times.remove(new)
    assert (old.last_token_ns, new.last_token_ns) == (700, 800)
    assert times.unsynchronised == []


def test_joint_batches_count_each_rank_by_its_own_time() -> None:
    """Ranks whose last steps ended at 500, 500 and 400 give gaps of 100, 100 and 200 at 600, whoever comes first."""
    for ends_ns in ((500, 500, 400), (400, 500, 500)):
        joint = TokenGaps()
        for end_ns in ends_ns:
            times = LastTokens()
            times.time_ns = end_ns
            joint.merge(times.gaps(2))
        assert recorded(joint, 600, 6) == (6, 2 * (100 + 100 + 200), 6)


def test_joining_an_idle_rank_changes_nothing() -> None:
    """A rank without pooled decodes leaves the time of the others alone."""
    pooled, single = LastTokens().gaps(0), TokenGaps()
    single.add(sequence_at(1, 450))
    joint = TokenGaps()
    joint.merge(pooled)
    joint.merge(single)
    assert recorded(joint, 600, 1) == (1, 150, 1)


def test_resumed_sequences_have_a_gap() -> None:
    """The first token ever has no gap; the first one since a preemption has."""
    log = ReplicaLog(0)
    TokenGaps().record(log, 900, 8, 2, [sequence_at(1, -1), sequence_at(2, 200)])
    assert log.counters().itl_sum_ns == 700
    assert log.gaps().count == 1
