"""Sockets: frames reach the other end, and every wait ends with an error that says who waits for whom."""

import socket as sockets
from dataclasses import replace

import pytest

from actors.codec import FrameError
from actors.frames import FrameKind
from actors.serving_codec import serving_codec
from actors.transport import GroupSocket, HubSocket, LinkSettings, WaitLimits
from cluster_sim.engine.group import Reply, Window
from cluster_sim.engine.instant import NEVER
from cluster_sim.engine.loop import ProtocolError
from cluster_sim.engine.process import Message
from cluster_sim.serving.messages import Cancellation

SHORT = LinkSettings("run", limits=WaitLimits(0.05, 0.05, 0.05))
LONG = LinkSettings("run")
CODEC = serving_codec()


@pytest.fixture
def hub() -> HubSocket:
    socket = HubSocket(LONG, CODEC, [[1, 3], [2]])
    yield socket
    socket.close()


def joined(hub: HubSocket, index: int, sources: list[int], settings: LinkSettings = LONG) -> GroupSocket:
    group = GroupSocket(settings, CODEC, index, hub.endpoint)
    group.hello(sources)
    return group


def test_windows_and_replies_travel(hub: HubSocket) -> None:
    """Each group gets its own window; replies come back under the group's number; the end reaches everybody."""
    groups = [joined(hub, 0, [1, 3]), joined(hub, 1, [2])]
    hub.await_groups()
    message = Message(7, 0, 5, Cancellation(5, 0))
    windows = {index: Window(1, 10 + index, NEVER, False, [(2 - index, message)]) for index in range(2)}
    hub.send(windows)
    for index, group in enumerate(groups):
        assert group.receive() == windows[index]
        group.reply(Reply(1, [], [(index, 3, 4)], 9))
    replies: dict[int, Reply] = {}
    while len(replies) < 2:
        replies.update(hub.collect())
    assert replies == {index: Reply(1, [], [(index, 3, 4)], 9) for index in range(2)}
    hub.stop(12)
    for group in groups:
        assert group.receive() == 12
        group.close()


def test_missing_group_is_named() -> None:
    """A group that never connects is named after the limit."""
    hub = HubSocket(SHORT, CODEC, [[1], [2]])
    group = joined(hub, 0, [1])
    with pytest.raises(ProtocolError, match=r"waited 0.05 s for actors \[1\] \(1 of 2\) to connect to tcp://127.0.0.1"):
        hub.await_groups()
    group.close()
    hub.close()


def test_wrong_replicas_are_refused(hub: HubSocket) -> None:
    """A group with other replicas than the placement says is refused."""
    group = joined(hub, 0, [1, 2])
    with pytest.raises(ProtocolError, match=r"actor 0 said HELLO \[1, 2\], expected HELLO \[1, 3\]"):
        hub.await_groups()
    group.close()


def test_reply_that_never_comes_is_named() -> None:
    """The router says which actor it waits for and what the coordinator knows of the wait."""
    hub = HubSocket(SHORT, CODEC, [[1]])
    hub.describe = lambda: "process 1 at 3 s"
    group = joined(hub, 0, [1])
    hub.await_groups()
    hub.send({0: Window(1, 5, NEVER, False, [])})
    with pytest.raises(ProtocolError, match=r"waited 0.05 s for a reply of actors \[0\]: process 1 at 3 s"):
        hub.collect()
    group.close()
    hub.close()


def test_silent_router_is_named(hub: HubSocket) -> None:
    """An actor that nobody calls any more says so."""
    group = joined(hub, 0, [1, 3], SHORT)
    with pytest.raises(
        ProtocolError, match=r"actor 0 waited 0.05 s for the router at tcp://.* its last answer was to window 0"
    ):
        group.receive()
    group.close()


def test_failure_of_an_actor_reaches_the_router(hub: HubSocket) -> None:
    """An actor's error reaches the router in its own words."""
    group = joined(hub, 1, [2])
    group.fail("ValueError: no")
    with pytest.raises(ProtocolError, match="actor 1 failed: ValueError: no"):
        hub.await_groups()
    group.close()


def test_foreign_frames_are_refused(hub: HubSocket) -> None:
    """Frames of another run, of an unknown actor, or out of place are refused by both ends."""
    group = joined(hub, 0, [1, 3], replace(LONG, run="other"))
    with pytest.raises(ProtocolError, match=r"frame of actor 0 was refused: .*run 'other', expected 'run'"):
        hub.await_groups()
    group.close()
    stranger = joined(hub, 9, [1])
    with pytest.raises(ProtocolError, match="came from actor 9, the run has 2"):
        hub.await_groups()
    stranger.close()
    group = joined(hub, 1, [2])
    with pytest.raises(ProtocolError, match="sent HELLO, expected REPLY"):
        hub.collect()
    hub._send(1, FrameKind.HELLO, [])
    with pytest.raises(FrameError, match=r"was sent HELLO \[\], expected a window or the end"):
        group.receive()
    group.close()


def test_unreachable_actor_is_named(hub: HubSocket) -> None:
    """A window for an actor that is not connected is an error at once, not a wait."""
    with pytest.raises(ProtocolError, match="actor 1 cannot be reached"):
        hub.send({1: Window(1, 5, NEVER, False, [])})


def test_ports_stay_in_their_range() -> None:
    """A socket listens inside ``run.port_range``; a range that is taken is an error that names it."""
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        taken = replace(LONG, port_range=(port, port))
        with pytest.raises(ProtocolError, match=rf"run.port_range \[{port}, {port}\]"):
            HubSocket(taken, CODEC, [[1]])
    hub = HubSocket(taken, CODEC, [[1]])
    assert hub.endpoint == f"tcp://127.0.0.1:{port}"
    hub.close()
