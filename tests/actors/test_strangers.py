"""A run among strangers: its result is the undisturbed one, whatever they send to its sockets."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import islice
from pathlib import Path

import pytest
import zmq

from actors.network import Listener, LocalNetwork
from actors.transport import LinkSettings
from cluster_sim.config.schema.study import Study
from tests.actors.conftest import cluster_network
from tests.actors.frame_mutations import good_frames, mutated_bytes
from tests.actors.matrix import inline, small_study
from tests.actors.strangers import raw_connections, zeromq_strangers
from tests.actors.threaded_run import ThreadedRun


@pytest.fixture(scope="module")
def study() -> Study:
    """A study with two pipeline stages, which are actors here: it has every kind of socket."""
    return small_study("least_loaded", pipeline_parallel=2)


@pytest.mark.parametrize("count", [6_000, pytest.param(1_000_000, marks=pytest.mark.acceptance)])
def test_mutated_frames_change_nothing(
    count: int, study: Study, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Mutated frames of this run and of others that reach the sockets of one node are dropped, every one of them.

    Half of them are there before the actors are, the others come while the run goes on.
    """

    @contextmanager
    def company(settings: LinkSettings, listeners: list[Listener]) -> Iterator[None]:
        frames = good_frames(settings.run) + good_frames("another run") + good_frames(settings.run, 1)
        each = count // len(listeners)
        with ExitStack() as stack:
            context = stack.enter_context(zmq.Context())
            senders = []
            for number, listener in enumerate(listeners):
                sender: zmq.Socket[bytes] = stack.enter_context(context.socket(zmq.PUSH if number else zmq.DEALER))
                sender.setsockopt(zmq.LINGER, 0)
                sender.setsockopt(zmq.SNDHWM, 0)
                sender.connect(listener.endpoint)
                senders.append((sender, mutated_bytes(frames, number)))

            def send(part: int) -> None:
                for sender, mutations in senders:
                    for frame in islice(mutations, part):
                        sender.send(frame)
                    sender.send_multipart([b"several", b"parts"])

            send(each // 2)
            read_before = [listener for listener in listeners if "confirmations" not in listener.endpoint]
            until(lambda: all(listener.dropped.count > each // 2 for listener in read_before))
            later = threading.Thread(target=send, args=(each // 2,))
            later.start()
            yield
            later.join()

    run = ThreadedRun(LocalNetwork(str(tmp_path)), company)
    with caplog.at_level(logging.WARNING):
        assert run.evidence(study, actors=2, stages="actors") == inline(study)
    assert run.dropped_frames > count // 3
    assert_nothing_told(caplog)


@pytest.mark.parametrize("count", [100, pytest.param(10_000, marks=pytest.mark.acceptance)])
def test_strangers_at_every_port_change_nothing(count: int, study: Study, caplog: pytest.LogCaptureFixture) -> None:
    """Raw connections and ZeroMQ sockets of strangers at every TCP socket of a run between nodes change nothing."""

    @contextmanager
    def company(_settings: LinkSettings, listeners: list[Listener]) -> Iterator[None]:
        is_over = threading.Event()
        made = dict.fromkeys((listener.endpoint for listener in listeners), 0)

        def connect() -> None:
            while not is_over.is_set():
                for endpoint in made:
                    with suppress(OSError), raw_connections(endpoint, 50):  # Sockets close when the run ends.
                        made[endpoint] += 50

        with ExitStack() as stack:
            for endpoint in made:
                stack.enter_context(zeromq_strangers(endpoint, 5))
                stack.enter_context(raw_connections(endpoint, 20))
            later = threading.Thread(target=connect)
            later.start()
            until(lambda: min(made.values()) >= count)
            yield
            is_over.set()
            later.join()

    network = cluster_network()
    run = ThreadedRun(network, company)
    with caplog.at_level(logging.WARNING):
        assert run.evidence(study, actors=2, stages="actors") == inline(study)
    assert run.dropped_frames > 7 * count // 2
    assert_nothing_told(caplog, network.keys.secret.decode(), network.keys.public.decode())


def test_undisturbed_run_counts_nothing(study: Study, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Without strangers nothing is counted or logged on either network, also when actors leave at the end."""
    for network in (LocalNetwork(str(tmp_path)), cluster_network()):
        run = ThreadedRun(network)
        assert run.evidence(study, actors=2, stages="actors") == inline(study)
        assert run.dropped_frames == 0
    assert caplog.records == []


def until(is_true: Callable[[], bool]) -> None:
    """Wait until something is true."""
    while not is_true():
        time.sleep(0.01)


def assert_nothing_told(caplog: pytest.LogCaptureFixture, *secrets: str) -> None:
    """Check that the log has fixed texts only, few of them, and no secret."""
    lines = [record.getMessage() for record in caplog.records]
    assert lines
    assert all("dropped" in line and "strangers" in line for line in lines)
    assert not any(secret in line for secret in secrets for line in lines)
