"""Contract of every queue order that is registered."""

import pytest

from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.serving.order_choice import queue_order_of
from cluster_sim.serving.ordering import Ordering
from cluster_sim.serving.queue_orders.base import QUEUE_ORDERS, QueueOrder
from cluster_sim.serving.sequence import Sequence
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.request import Attributes, Request
from tests.copied import copied
from tests.outside_package import CHECKOUT
from tests.serving.queue_orders.queues import ordered, queue_of
from tests.serving.step_times import TokenClock

NAMES = QUEUE_ORDERS.names()
KEYED = [name for name in NAMES if not QUEUE_ORDERS.get(name).part.needs_radix_tree]


def half_cached(sequence: Sequence) -> int:
    """Return the tokens of a prompt that the cache holds: of its named ones, which alone can be found."""
    return sum(tokens for _, tokens in sequence.request.attributes.segments) // 2


def order_called(name: str) -> QueueOrder:
    entry = QUEUE_ORDERS.get(name)
    order = entry.part(entry.options(), half_cached)
    order.use_predictor(TokenClock(100_000))
    return order


def queue() -> list[Sequence]:
    """Return eight waiting sequences of three tenants, two of them alike but for their ids."""
    sequences = []
    for index in range(8):
        prompt = 100 + 37 * (index * 5 % 8)
        attributes = Attributes(priority=index % 3, tenant="abc"[index % 3], segments=((index, prompt),))
        request = Request(index, (index // 2) * NS_PER_S, prompt, 10 + index, attributes)
        sequences.append(Sequence(request, 0, request.arrival_ns))
    twin = Request(8, sequences[0].request.arrival_ns, sequences[0].prompt_tokens, 10, sequences[0].request.attributes)
    return [*sequences, Sequence(twin, 0, twin.arrival_ns)]


def ids(sequences: list[Sequence]) -> list[int]:
    return [sequence.request_id for sequence in sequences]


@pytest.mark.parametrize("name", NAMES)
def test_options_are_described_and_have_defaults(name: str) -> None:
    """A queue order has a line for users and options that a study may leave out, each with a description."""
    entry = QUEUE_ORDERS.get(name)
    assert entry.summary.endswith(".")
    entry.options()
    for option, field in entry.options.model_fields.items():
        assert option == "policy" or (field.description and option in Ordering.model_fields)


@pytest.mark.parametrize("name", NAMES)
def test_the_page_of_engines_lists_every_order(name: str) -> None:
    """The table in the documentation has each order with its own line."""
    page = (CHECKOUT / "docs" / "engines.md").read_text(encoding="utf-8")
    assert f"| `{name}` | {QUEUE_ORDERS.get(name).summary} |" in page


@pytest.mark.parametrize("name", KEYED)
def test_the_order_does_not_depend_on_that_of_the_queue(name: str) -> None:
    """A sorted queue holds the same sequences, and is the same however they stood before; twins go by id."""
    expected = ids(ordered(order_called(name), queue(), now_ns=9 * NS_PER_S))
    assert sorted(expected) == list(range(9))
    assert ids(ordered(order_called(name), queue()[::-1], now_ns=9 * NS_PER_S)) == expected
    assert expected.index(0) < expected.index(8)


@pytest.mark.parametrize("name", [name for name in KEYED if order_called(name).is_static])
def test_static_orders_do_not_change_with_time(name: str) -> None:
    """What is called static gives the same order an hour later."""
    order, waiting = order_called(name), queue()
    assert ids(ordered(order, waiting, now_ns=9 * NS_PER_S)) == ids(ordered(order, waiting, now_ns=3600 * NS_PER_S))


@pytest.mark.parametrize("name", KEYED)
def test_groups_and_places_agree_with_the_keys(name: str) -> None:
    """At any time a queue stands as if every sequence had been asked for its key, whoever came and left before."""
    order, waiting = order_called(name), queue()
    lined_up = queue_of(order, waiting[::2])
    for newcomer, now_ns in ((1, 9 * NS_PER_S), (3, 10 * NS_PER_S), (5, 400 * NS_PER_S)):
        lined_up.sort([], now_ns)
        by_key = sorted(
            lined_up.present.values(), key=lambda item: (order.key(item), item.request.arrival_ns, item.key)
        )
        assert list(lined_up) == by_key
        assert lined_up.leave() is by_key[0]
        lined_up.enter(waiting[newcomer])
        lined_up.remove(by_key[2].key)


@pytest.mark.parametrize("name", KEYED)
def test_an_order_survives_a_snapshot(name: str) -> None:
    """An order restored between two sorts goes on as one that was not."""
    order, waiting = order_called(name), queue()
    lined_up = queue_of(order, waiting)
    lined_up.sort([], 9 * NS_PER_S)
    order.on_end(lined_up.leave())
    lined_up.on_admitted()
    _, same = copied((order, lined_up))
    for each in (lined_up, same):
        each.sort([], 12 * NS_PER_S)
    assert ids(list(same)) == ids(list(lined_up))


@pytest.mark.parametrize("name", KEYED)
def test_orders_that_size_no_chunks_leave_them_alone(name: str) -> None:
    """Only an order that says so keeps prompts out of a step or shortens them, and never to more than was asked."""
    order, sequence = order_called(name), queue()[0]
    chunk = order.fit_chunk(sequence, 0, 64, BatchShape())
    assert chunk <= 64
    if not order.sizes_chunks:
        assert (chunk, order.may_join(BatchShape(prefills=[(10_000, 0)]), 20_000)) == (64, True)


def test_an_engine_chooses_its_order_by_name() -> None:
    """The order reads its own options of the block that holds everybody's; plain arrival order is none at all."""

    class Chosen:
        policy = "vtc"
        ordering = Ordering(prompt_weight=3.0, aging_per_s=7.0)

    order = queue_order_of(Chosen, half_cached)
    assert order is not None
    second = queue()[1]
    second.generated = 1
    order.begin(["a"], [second], 0)
    assert order.key(second) == 3.0 * second.prompt_tokens + 2.0
    Chosen.policy = "fcfs"
    assert queue_order_of(Chosen, half_cached) is None
    Chosen.policy = "vct"
    with pytest.raises(InputError, match=r"unknown queue order 'vct'; did you mean 'vtc'\?; known: dfs_weight, edf"):
        queue_order_of(Chosen, half_cached)
