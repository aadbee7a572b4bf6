# ruff: noqa: ARG002 - the drawn predictor ignores what it is asked
"""Stage actors: the chain comes to the replica's own times, and says so when it does not."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from actors.network import Network
from actors.stage_actor import StageActor, StageCounts, StageServer
from actors.stage_stream import StageStream, forwarded, frame_rows
from actors.transport import LinkSettings, WaitLimits
from cluster_sim.engine.loop import ProtocolError
from cluster_sim.hardware.batch_shape import BatchShape, Int64Array
from cluster_sim.hardware.predictors.predictor_interface import Predictor
from cluster_sim.serving.pipeline import Pipeline


@pytest.fixture
def settings(network: Network) -> LinkSettings:
    """Settings of one run."""
    return LinkSettings("run", network, limits=WaitLimits(5, 5, 5))


class DrawnSteps(Predictor):
    """Step times and links that differ from batch to batch and from stage to stage."""

    def __init__(self, stages: int, seed: int) -> None:
        super().__init__()
        self.stages = stages
        self._draw = random.Random(seed)

    def step_ns(self, shape: BatchShape, stage: int = 0) -> int:
        return self._draw.randint(1, 40)

    def decode_run_ns(self, decodes: int, kv_tokens: int, steps: int, stage: int = 0) -> Int64Array:
        raise NotImplementedError

    def floor_ns(self, stage: int = 0) -> int:
        return 1

    def stage_link_ns(self, tokens: int, stage: int) -> int:
        return self._draw.randint(0, 3)


def streams(
    stages: int, replicas: int = 3, batches: int = 40
) -> tuple[list[Pipeline], list[tuple[int, Sequence[int]]]]:
    """Return pipelines that ran some batches, and their streams by source."""
    pipelines = [Pipeline(DrawnSteps(stages, seed), is_streamed=True) for seed in range(replicas)]
    for pipeline in pipelines:
        draw = random.Random(stages)
        at = 0
        for _ in range(batches):
            at += draw.randint(0, 60)
            pipeline.run(BatchShape(decodes=1), at)
    return pipelines, [(source, pipeline.take_stream()) for source, pipeline in enumerate(pipelines, start=1)]


def test_columns_of_a_stream() -> None:
    """Flat streams become columns; batches are counted on from frame to frame; a stage takes its columns off."""
    counts = {7: 4}
    rows = frame_rows([(7, [10, 3, 1, 5, 0, 19, 11, 3, 1, 6, 0, 25])], 2, counts)
    assert counts == {7: 6}
    assert rows == ([7, 7], [4, 5], [10, 11], [19, 25], [[3, 3], [1, 1], [5, 6], [0, 0]])
    ends = StageServer(0).serve(rows)
    assert ends == [13, 16]
    assert forwarded(rows, ends) == ([7, 7], [4, 5], [14, 17], [19, 25], [[5, 6], [0, 0]])


def test_counts_of_a_stage() -> None:
    """A stage counts batches, busy time and queueing by hand-computed values."""
    server = StageServer(1)
    server.serve(frame_rows([(2, [10, 5, 0, 15, 12, 4, 0, 19, 40, 1, 0, 41])], 1, {}))
    assert server.counts() == [StageCounts(replica=2, stage=1, batches=3, busy_ns=10, queued_ns=3)]


@pytest.mark.parametrize("stages", [1, 2, 4])
def test_chain_confirms_the_replicas(stages: int, settings: LinkSettings) -> None:
    """Real sockets: every batch of every replica passes the chain and is confirmed; busy times are the replicas'."""
    pipelines, taken = streams(stages)
    stream = StageStream(settings, 0, stages)
    actors = [StageActor(0, at, stages) for at in range(stages)]
    inputs = [actor.build(settings) for actor in actors]
    for actor, following in zip(actors, [*inputs[1:], stream.endpoint], strict=True):
        actor.start(following, [])
    stream.connect(inputs[0])
    for source, flat in taken:  # Several frames, cut between batches.
        half = len(flat) // (2 + 2 * stages) // 2 * (2 + 2 * stages)
        stream.send(stream.take([(source, flat[:half])]))
        stream.send(stream.take([(source, flat[half:])]))
    stream.send(stream.take([]))
    stream.finish()
    stream.close()
    assert [actor.watch() for actor in actors] == [""] * stages
    for actor, stage in zip(actors, range(stages), strict=True):
        assert [counts.busy_ns for counts in actor.results()] == [pipeline.busy_ns[stage] for pipeline in pipelines]


def test_disagreement_is_an_error(settings: LinkSettings) -> None:
    """A stage that comes to another time than the replica stops the run, saying which batch."""
    _, taken = streams(1, replicas=1)
    stream = StageStream(settings, 0, 1)
    actor = StageActor(0, 0, 1)
    stream.connect(actor.build(settings))
    actor.start(stream.endpoint, [])
    flat = list(taken[0][1])
    flat[7] += 1  # The end of the second batch.
    stream.send(stream.take([(1, flat)]))
    with pytest.raises(ProtocolError, match=rf"ended batch 1 of replica 1 at {flat[7] - 1} ns; .* at {flat[7]} ns"):
        stream.finish()
    stream.close()


def test_lost_chain_is_named(settings: LinkSettings) -> None:
    """Confirmations that never come end in an error with how many there were; a broken stage says what broke."""
    short = replace(settings, limits=WaitLimits(0.05, 0.05, 0.05))
    stream = StageStream(short, 3, 1)
    actor = StageActor(3, 0, 1)
    stream.connect(actor.build(short))
    stream.send(stream.take([(1, [1, 2, 0, 3])]))
    with pytest.raises(ProtocolError, match=r"actor 3 waited 0.05 s for its stages: they confirmed 0 of 1 batches"):
        stream.finish()
    actor.start(stream.endpoint, [])
    actor.watch()
    stream.close()
    silent = StageActor(3, 0, 2)
    watcher = StageStream(settings, 3, 1)
    silent.build(short)
    silent.start(watcher.endpoint, [])
    assert "stage 0 of actor 3 waited 0.05 s for a batch" in silent.watch()
    assert watcher.confirmations.poll(5_000)
    with pytest.raises(ProtocolError, match="a link between the stages of actor 3 broke: stage 0: BrokenLink"):
        watcher.confirm()
    watcher.close()
