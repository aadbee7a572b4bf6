from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.routing.handover.transfers import TransferKey, Transfers
from cluster_sim.units import NS_PER_S

OUT, IN, OTHER_IN = ("out", 0), ("in", 1), ("in", 2)


def key(request_id: int) -> TransferKey:
    return TransferKey(request_id, 1, 0)


def test_a_single_transfer_takes_its_bytes_over_the_slowest_link() -> None:
    """1,000 bytes that begin at 5 ns over links of 2 and 1 GB/s end 1,000 ns later."""
    transfers = Transfers({OUT: 2 * NS_PER_S, IN: NS_PER_S})
    transfers.start(key(1), (OUT, IN), 1000, begin_ns=5, now_ns=0)
    assert transfers.next_ns() == 5
    assert transfers.complete(5) == []
    assert transfers.next_ns() == 1005
    assert transfers.complete(1005) == [key(1)]
    assert transfers.next_ns() == -1


def test_two_transfers_on_one_port_share_it() -> None:
    """The second begins after 500 of the first's 1,000 bytes; both go at half rate until the first has ended."""
    transfers = Transfers({OUT: NS_PER_S, IN: 4 * NS_PER_S, OTHER_IN: 4 * NS_PER_S})
    transfers.start(key(1), (OUT, IN), 1000, 0, 0)
    transfers.start(key(2), (OUT, OTHER_IN), 1000, 500, 500)
    assert transfers.next_ns() == 1500
    assert transfers.complete(1500) == [key(1)]
    assert transfers.next_ns() == 2000
    assert transfers.complete(2000) == [key(2)]


def test_what_one_transfer_cannot_use_goes_to_the_other() -> None:
    """Of a port of 10 bytes/ns a transfer into a port of 2 takes 2; the other gets 8, not 5."""
    transfers = Transfers({OUT: 10 * NS_PER_S, IN: 2 * NS_PER_S, OTHER_IN: 100 * NS_PER_S})
    transfers.start(key(1), (OUT, IN), 1000, 0, 0)
    transfers.start(key(2), (OUT, OTHER_IN), 1000, 0, 0)
    assert transfers.rate(key(1)) == 2 * NS_PER_S
    assert transfers.rate(key(2)) == 8 * NS_PER_S
    assert transfers.next_ns() == 125


def test_a_change_makes_a_new_generation() -> None:
    """Who has scheduled a completion can see that it is planned anew."""
    transfers = Transfers({OUT: NS_PER_S})
    transfers.start(key(1), (OUT,), 1000, 0, 0)
    generation = transfers.generation
    transfers.start(key(2), (OUT,), 1000, 0, 0)
    assert transfers.generation > generation
    transfers.abort(key(1), 400)
    assert transfers.next_ns() == 1200


def test_a_stopped_link_holds_its_transfers() -> None:
    """Nothing ends while a link is down; what was moved before counts."""
    transfers = Transfers({OUT: NS_PER_S})
    transfers.start(key(1), (OUT,), 1000, 0, 0)
    transfers.set_capacity(OUT, 0, 400)
    assert transfers.next_ns() == -1
    transfers.set_capacity(OUT, NS_PER_S // 2, 1000)
    assert transfers.next_ns() == 2200


def test_nothing_to_move_ends_when_it_begins() -> None:
    """A transfer of no bytes takes its latency only."""
    transfers = Transfers({OUT: NS_PER_S})
    transfers.start(key(1), (OUT,), 0, 30, 0)
    assert transfers.next_ns() == 30
    assert transfers.complete(30) == [key(1)]


@given(
    st.lists(
        st.tuples(st.integers(0, 2000), st.integers(0, 50_000), st.integers(0, 2), st.integers(0, 2)),
        min_size=1,
        max_size=12,
    )
)
def test_links_are_never_overfull_and_all_bytes_arrive(plans: list[tuple[int, int, int, int]]) -> None:
    """At any time the rates on a link sum to at most its capacity; every transfer ends, none before its own minimum."""
    capacities = {(kind, number): (number + 1) * NS_PER_S for kind in ("out", "in") for number in range(3)}
    transfers = Transfers(capacities)
    pending = sorted((start, index) for index, (start, *_) in enumerate(plans))
    ended: dict[int, int] = {}
    now = 0
    while pending or len(transfers):
        due = transfers.next_ns()
        if pending and (due < 0 or pending[0][0] <= due):
            now, index = pending.pop(0)
            _, size, source, sink = plans[index]
            transfers.start(key(index), (("out", source), ("in", sink)), size, now, now)
        else:
            now = due
            for done in transfers.complete(now):
                ended[done.request_id] = now
        for link, capacity in capacities.items():
            users = [index for index, plan in enumerate(plans) if ("out", plan[2]) == link or ("in", plan[3]) == link]
            assert sum(transfers.rate(key(index)) for index in users if key(index) in transfers) <= capacity
    for index, (start, size, source, sink) in enumerate(plans):
        assert ended[index] - start >= size // (min(source, sink) + 1)
