"""The queue by a walk of the radix tree against one that matches every waiting prompt each time, as SGLang does."""

from collections.abc import Iterable
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from cluster_sim.serving.kv_cache.radix import RadixCache
from cluster_sim.serving.kv_cache.radix_tree import RadixTree
from cluster_sim.serving.queue_orders.waiting_queue import ArrivalQueue
from cluster_sim.serving.sequence import Sequence
from cluster_sim.workload.request import Attributes
from tests.serving.schedulers.test_sglang import Bench


class PlainQueue(ArrivalQueue):
    """Matches everybody and walks the tree, whatever has changed."""

    def __init__(self, cache: RadixCache) -> None:
        super().__init__()
        self._cache = cache

    def sort(self, running: Iterable[Sequence], now_ns: int) -> None:  # noqa: ARG002 - the interface
        by_node: dict[int, list[Sequence]] = {}
        for sequence in self:
            self._cache.match_prefix(sequence)
            by_node.setdefault(self._cache.holding_of(sequence).node, []).append(sequence)
        weights: dict[int, int] = {}
        children: dict[int, list[int]] = {}
        for serial, sequences in by_node.items():
            node = serial
            while node:
                if node not in weights:
                    weights[node] = 0
                    children.setdefault(self._cache.tree.parent_of(node), []).append(node)
                weights[node] += len(sequences)
                node = self._cache.tree.parent_of(node)
        ordered: list[Sequence] = []

        def visit(node: int) -> None:
            for child in sorted(children.get(node, []), key=lambda serial: weights[serial])[::-1]:
                visit(child)
            ordered.extend(by_node.get(node, []))

        visit(0)
        self.arrange(ordered)


def bench_of(queue: type[PlainQueue] | None, tokens: int, page: int, **engine: object) -> Bench:
    bench = Bench(tokens=tokens // page * page, page=page, policy="dfs_weight", seqs=3, **engine)
    if queue is not None:
        bench.scheduler.memory.tree.watcher = None
        bench.scheduler.queue = queue(bench.scheduler.memory)
        bench.scheduler.waiting = bench.scheduler.queue.present
    return bench


ARRIVAL = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 40), st.integers(1, 12), st.integers(0, 2))


@settings(max_examples=150, deadline=None)
@given(
    arrivals=st.lists(ARRIVAL, min_size=1, max_size=30),
    tokens=st.integers(160, 400),
    chunk=st.sampled_from([16, 48, 400]),
    page=st.sampled_from([1, 4]),
    gone=st.sets(st.integers(0, 29)),
)
def test_steps_are_those_of_matching_everybody(
    arrivals: list, tokens: int, chunk: int, page: int, gone: set[int]
) -> None:
    """Batches, what is found, and the order in which the tree evicts are the same, also when requests are withdrawn."""
    benches = [bench_of(queue, tokens, page, chunk=chunk) for queue in (None, PlainQueue)]
    steps: list[list[object]] = [[], []]
    for bench, taken in zip(benches, steps, strict=True):
        sequences = []
        for index, (group, subgroup, prompt, output, batches) in enumerate(arrivals):
            segments = ((group, 20), (10 + 4 * group + subgroup, 30), (100 + index, prompt))
            attributes = Attributes(segments=segments, output_segment=200 + index)
            sequences.append(bench.add(index, 50 + prompt, output, attributes))
            taken += [bench.step() for _ in range(batches)]
            if index in gone:
                bench.scheduler.remove_waiting(sequences[index // 2].key)
            taken.append(bench.scheduler.waiting_ids() if not bench.scheduler.waiting_count else None)
        for _ in range(600):
            taken.append(bench.step())
            if not taken[-1] and not bench.scheduler.retry_now:
                break
        taken += [sequence.cached_tokens for sequence in sequences]
        taken += [sequence.generated for sequence in sequences]
        bench.scheduler.memory.validate()
    assert steps[0] == steps[1]


def test_matches_do_not_grow_with_the_queue() -> None:
    """With 200 and with 800 waiting prompts of 10 prefixes, each is matched about as often: when it comes, when its
    prefix becomes known, and when it is chosen.
    """
    matches = []
    for count in (200, 800):
        bench = bench_of(None, 40_000, 1, chunk=400)
        for index in range(count):
            bench.add(index, 120, 2, Attributes(segments=((index % 10, 100), (100 + index, 20))))
        with mock.patch.object(RadixTree, "match", autospec=True, side_effect=RadixTree.match) as match:
            while bench.scheduler.waiting:
                bench.step()
        matches.append(match.call_count / count)
    assert matches[1] <= 1.3 * matches[0]
