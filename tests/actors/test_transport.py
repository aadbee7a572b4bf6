"""Sockets: frames reach the other end, and every wait ends with an error that says who waits for whom."""

import socket as sockets
from collections.abc import Iterator
from dataclasses import replace

import pytest

from actors.codec import FrameError
from actors.frames import FrameKind, Link
from actors.network import Network
from actors.serving_codec import serving_codec
from actors.transport import GroupSocket, HubSocket, LinkSettings, WaitLimits, set_limit
from cluster_sim.engine.group import Reply, Window
from cluster_sim.engine.instant import NEVER
from cluster_sim.engine.loop import ProtocolError
from cluster_sim.engine.process import Message
from cluster_sim.errors import InputError
from cluster_sim.serving.messages import Cancellation
from tests.actors.conftest import cluster_network

SHORT = WaitLimits(0.05, 0.05, 0.05)
CODEC = serving_codec()


@pytest.fixture
def settings(network: Network) -> LinkSettings:
    """Settings of one run with long waits."""
    return LinkSettings("run", network)


@pytest.fixture
def hub(settings: LinkSettings) -> Iterator[HubSocket]:
    """A hub of two groups."""
    socket = HubSocket(settings, CODEC, [[1, 3], [2]])
    yield socket
    socket.close()


def joined(hub: HubSocket, index: int, sources: list[int], settings: LinkSettings) -> GroupSocket:
    """Return a group that has said hello."""
    group = GroupSocket(settings, CODEC, index, hub.endpoint)
    group.hello(sources)
    return group


def test_windows_and_replies_travel(hub: HubSocket, settings: LinkSettings) -> None:
    """Each group gets its own window; replies come back under the group's number; the end reaches everybody."""
    groups = [joined(hub, 0, [1, 3], settings), joined(hub, 1, [2], settings)]
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


def test_missing_group_is_named(settings: LinkSettings) -> None:
    """A group that never connects is named after the limit."""
    hub = HubSocket(replace(settings, limits=SHORT), CODEC, [[1], [2]])
    group = joined(hub, 0, [1], settings)
    with pytest.raises(
        ProtocolError, match=r"waited 0.05 s for actors \[1\] \(1 of 2\) to connect to (tcp://127.0.0.1|ipc:///)"
    ):
        hub.await_groups()
    group.close()
    hub.close()


def test_wrong_replicas_are_refused(hub: HubSocket, settings: LinkSettings) -> None:
    """A group with other replicas than the placement says is refused."""
    group = joined(hub, 0, [1, 2], settings)
    with pytest.raises(ProtocolError, match=r"actor 0 said HELLO \[1, 2\], expected HELLO \[1, 3\]"):
        hub.await_groups()
    group.close()


def test_reply_that_never_comes_is_named(settings: LinkSettings) -> None:
    """The router says which actor it waits for and what the coordinator knows of the wait."""
    hub = HubSocket(replace(settings, limits=SHORT), CODEC, [[1]])
    hub.describe = lambda: "process 1 at 3 s"
    group = joined(hub, 0, [1], settings)
    hub.await_groups()
    hub.send({0: Window(1, 5, NEVER, False, [])})
    with pytest.raises(ProtocolError, match=r"waited 0.05 s for a reply of actor 0 \(window 1\): process 1 at 3 s"):
        hub.collect()
    group.close()
    hub.close()


def test_silent_router_is_named(hub: HubSocket, settings: LinkSettings) -> None:
    """An actor that nobody calls any more says so."""
    group = joined(hub, 0, [1, 3], replace(settings, limits=SHORT))
    with pytest.raises(
        ProtocolError, match=r"actor 0 waited 0.05 s for the router at (tcp|ipc)://.* its last answer was to window 0"
    ):
        group.receive()
    group.close()


def test_failure_of_an_actor_reaches_the_router(hub: HubSocket, settings: LinkSettings) -> None:
    """An actor's error reaches the router in its own words."""
    group = joined(hub, 1, [2], settings)
    group.fail("ValueError: no")
    with pytest.raises(ProtocolError, match="actor 1 failed: ValueError: no"):
        hub.await_groups()
    group.close()


def test_frames_of_strangers_are_dropped(settings: LinkSettings, caplog: pytest.LogCaptureFixture) -> None:
    """Frames of another run, of an unknown actor, of several parts and plain bytes are counted, not answered.

    Groups join all the same, and the log holds one line without anything that came.
    """
    hub = HubSocket(replace(settings, limits=WaitLimits(start_s=0.5)), CODEC, [[1, 3], [2]])
    strangers = [joined(hub, 0, [1, 3], replace(settings, run="other")), joined(hub, 9, [1], settings)]
    strangers[0].socket.send_multipart([b"several", b"parts"])
    for frame in (b"", b"secret", b"\x93\xc4\x00\x00\xc4\x00", bytes(1 << 20)):
        strangers[0].socket.send(frame)
    with pytest.raises(ProtocolError, match=r"waited .* 7 frames or connections of strangers were dropped"):
        hub.await_groups()
    assert hub.dropped_frames == 7
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line.startswith("router dropped 1 frame or connection of strangers, 1 in all: ")
    for stranger in strangers:
        stranger.close()
    group = joined(hub, 1, [2], settings)
    set_limit(hub._socket, 30)
    with pytest.raises(ProtocolError, match="sent HELLO, expected REPLY"):
        hub.collect()
    for frame in (b"nonsense", Link("other", 0, 1).seal(FrameKind.STOP, 3)):
        hub._socket.send_multipart((b"G\x01\x00\x00\x00", frame))
    hub._send(1, FrameKind.HELLO, [])
    with pytest.raises(FrameError, match=r"was sent HELLO \[\], expected a window or the end"):
        group.receive()
    assert group._dropped.count == 2
    group.close()
    hub.close()


def test_unreachable_actor_is_named(hub: HubSocket, settings: LinkSettings) -> None:
    """A window for an actor that is not connected is an error at once, not a wait."""
    with pytest.raises(ProtocolError, match="actor 1 cannot be reached"):
        hub.send({1: Window(1, 5, NEVER, False, [])})


def test_ports_stay_in_their_range() -> None:
    """A socket listens inside ``run.port_range``; a range that is taken is an error that names it."""
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        taken = LinkSettings("run", cluster_network((port, port)))
        with pytest.raises(InputError, match=f"run.port_range: none of the ports {port} to {port} is free"):
            HubSocket(taken, CODEC, [[1]])
    hub = HubSocket(taken, CODEC, [[1]])
    assert hub.endpoint == f"tcp://127.0.0.1:{port}"
    hub.close()


def test_secrets_are_in_no_text() -> None:
    """The run's name and keys do not appear where settings are printed."""
    network = cluster_network()
    settings = LinkSettings("secret name", network)
    for text in (repr(settings), str(network), repr(network.keys)):
        assert "secret name" not in text
        assert network.keys.secret.decode() not in text
        assert network.keys.public.decode() not in text
