"""Nodes and control services that are found to be gone by their ports."""

import logging
import socket

import pytest

from actors import node_watch
from actors.node_watch import REFUSALS, SILENCES, LostClusterError, NodeWatch, Peer, answer_of

CONTROL = Peer("", "10.0.0.1", 6379)
HEAD = Peer("aaaaaaaaaaaa", "10.0.0.1", 1)
WORKER = Peer("bbbbbbbbbbbb", "10.0.0.2", 2)


def watch_of(answers: dict[Peer, bool | None], looks: int) -> NodeWatch:
    """Return a watch on the head, where this process is, and a worker, after some looks with the same answers."""
    watch = NodeWatch(CONTROL, [HEAD, WORKER], HEAD.node)
    for _ in range(looks):
        watch.look(lambda peer: answers.get(peer, True))
    return watch


def test_a_port_that_refuses_is_a_node_that_is_gone() -> None:
    """Two refusals in a row are a loss, one is none; a port that only keeps silent may do so for longer."""
    assert watch_of({WORKER: False}, REFUSALS - 1).lost() == []
    watch = watch_of({WORKER: False}, REFUSALS)
    assert watch.lost() == [WORKER.node]
    assert watch.words(watch.lost()) == "node 10.0.0.2 (bbbbbbbb)"
    assert watch_of({WORKER: None}, SILENCES - 1).lost() == []
    assert watch_of({WORKER: None}, SILENCES).lost() == [WORKER.node]
    watch.check()  # Nothing that this process needs is gone.
    watch.look(lambda _: True)
    assert watch.lost() == []


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ((HEAD,), "the Ray node of this process, 10.0.0.1, died after 7 windows"),
        ((HEAD, CONTROL), "the cluster's head node, 10.0.0.1, died after 7 windows"),
    ],
)
def test_a_process_that_is_cut_off_is_told(lost: tuple[Peer, ...], message: str) -> None:
    """The loss of the own node ends the run; together with the control service it was the head node."""
    with pytest.raises(LostClusterError, match=message):
        watch_of(dict.fromkeys(lost, False), REFUSALS).check(" after 7 windows")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The wall clock of the watch."""
    now_s = [100.0]
    monkeypatch.setattr(node_watch.time, "monotonic", lambda: now_s[0])
    return now_s


def test_a_run_goes_on_without_the_control_service_while_it_can(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """Its loss is said once; the run ends shortly before Ray ends its processes; nothing ends when it comes back."""
    with caplog.at_level(logging.WARNING):
        watch = watch_of({CONTROL: False}, REFUSALS + 3)
    (record,) = caplog.records
    assert "control service (GCS) at 10.0.0.1:6379 does not answer any more: the run goes on" in record.getMessage()
    assert watch.is_control_lost
    clock[0] += 44.0
    watch.check()
    clock[0] += 2.0
    with pytest.raises(LostClusterError, match=r"has been gone for 46 s, and Ray ends its processes now"):
        watch.check()
    watch.look(lambda _: True)
    watch.check()


def test_ports_of_this_machine() -> None:
    """A port that listens answers, one that nobody listens at refuses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = Peer("x", *server.getsockname())
        assert answer_of(peer)
    assert answer_of(peer) is False
