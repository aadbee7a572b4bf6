"""Networks of a run: strangers do not get in, whatever they know, and nobody hears of their bytes."""

import os
import resource
import socket as sockets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import pytest
import zmq

from actors.dropped_frames import DroppedFrames
from actors.network import (
    LARGEST_FRAME_BYTES,
    ClusterNetwork,
    Listener,
    LocalNetwork,
    Network,
    new_keys,
    open_network,
    own_address,
)
from cluster_sim.directory_lock import DirectoryLock
from cluster_sim.engine.loop import ProtocolError
from cluster_sim.errors import InputError
from tests.actors.conftest import cluster_network
from tests.actors.strangers import RAW_OPENINGS, address_of, raw_connections

WAIT_S = 20.0


@pytest.fixture
def inner() -> ClusterNetwork:
    """The network of a run between nodes."""
    return cluster_network()


@pytest.fixture
def listener(inner: ClusterNetwork) -> Iterator[Listener]:
    """A socket that listens for members of the run."""
    listener = inner.listen(zmq.PULL, "router")
    yield listener
    listener.close()


@pytest.fixture
def outer() -> Iterator["zmq.Socket[bytes]"]:
    """The socket of somebody else."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as made:
        made.setsockopt(zmq.LINGER, 0)
        yield made


def until(is_true: Callable[[], bool]) -> None:
    """Wait until something is true."""
    give_up = time.monotonic() + WAIT_S
    while not is_true():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def member_reaches(network: Network, listener: Listener) -> bool:
    """Return whether a frame of a member arrives, and nothing before it."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as member:
        network.connect(member, listener.endpoint)
        member.send(b"mine")
        assert listener.socket.poll(round(WAIT_S * 1e3))
        return listener.socket.recv() == b"mine"


def test_members_of_the_run_get_in(inner: ClusterNetwork, listener: Listener) -> None:
    """A holder of the run's keys is heard, and nothing is counted or logged, also not when it leaves."""
    assert member_reaches(inner, listener)
    assert member_reaches(inner, listener)
    assert listener.dropped.count == 0


@pytest.mark.parametrize("known", ["nothing", "another run", "the public key"])
def test_strangers_with_zeromq_do_not_get_in(
    known: str, inner: ClusterNetwork, listener: Listener, outer: "zmq.Socket[bytes]"
) -> None:
    """Neither a plain socket, nor one with other keys, nor one that knows the public key is heard; each is counted."""
    if known == "nothing":
        outer.connect(listener.endpoint)
    else:
        other = new_keys()
        outer.setsockopt(zmq.CURVE_SERVERKEY, other.public if known == "another run" else inner.keys.public)
        outer.setsockopt(zmq.CURVE_PUBLICKEY, other.public)
        outer.setsockopt(zmq.CURVE_SECRETKEY, other.secret)
        outer.connect(listener.endpoint)
    outer.send(b"theirs")
    until(lambda: listener.dropped.count > 0)
    assert member_reaches(inner, listener)
    assert not listener.socket.poll(50)


def test_raw_connections_do_not_get_in(
    inner: ClusterNetwork, listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    """Connections that are silent, speak something else or half of it are counted; a member is heard among them."""
    with raw_connections(listener.endpoint, 10 * len(RAW_OPENINGS)):
        assert member_reaches(inner, listener)
    until(lambda: listener.dropped.count >= 8 * len(RAW_OPENINGS))
    assert not listener.socket.poll(0)
    lines = [record.getMessage() for record in caplog.records if record.name == "actors.dropped_frames"]
    assert lines[0] == "router dropped 1 frame or connection of strangers, 1 in all: a connection did not authenticate"
    assert len(lines) < 5


def test_many_silent_connections_leave_room(inner: ClusterNetwork) -> None:
    """A process that may have few descriptors asks for all that it can get, so a member is heard among many silent."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limits[1] < 2_000:
        pytest.skip(f"needs 2,000 descriptors, this machine gives {limits[1]}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
    listener = inner.listen(zmq.PULL, "router")
    try:
        with ExitStack() as stack:
            for _ in range(400):
                stack.enter_context(sockets.create_connection(address_of(listener.endpoint), timeout=10))
            assert member_reaches(inner, listener)
    finally:
        listener.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_large_frames_are_not_taken(network: Network) -> None:
    """A frame above the limit is not delivered, and its sender is disconnected before it is kept."""
    with mock.patch("actors.network.LARGEST_FRAME_BYTES", 10_000):
        listener = network.listen(zmq.PULL, "router")
    with zmq.Context() as context, context.socket(zmq.PUSH) as member:
        network.connect(member, listener.endpoint)
        member.send(bytes(20_000))
        assert not listener.socket.poll(100)
        assert member_reaches(network, listener)
        assert not listener.socket.poll(0)
    listener.close()
    assert LARGEST_FRAME_BYTES == 256 << 20


def test_sockets_of_one_node_are_the_users_own(tmp_path: Path) -> None:
    """The folder of a run on one node is the user's alone, and goes with the run; an open folder is refused."""
    with open_network(None, (20000, 29999)) as network:
        assert isinstance(network, LocalNetwork)
        folder = Path(network.folder)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        listener = network.listen(zmq.PULL, "router")
        assert listener.endpoint == f"ipc://{folder}/router"
        assert (folder / "router").is_socket()
        listener.close()
    assert not folder.exists()
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o750)
    with pytest.raises(ProtocolError, match="open: other users may enter this folder"):
        LocalNetwork(str(tmp_path / "open")).listen(zmq.PULL, "router")
    with pytest.raises(ProtocolError, match=r"cannot listen at ipc://.*/absent/router"):
        LocalNetwork(str(tmp_path / "absent")).listen(zmq.PULL, "router")


def test_folder_names_stay_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the folder for temporary files has a long name, sockets are put elsewhere: their paths are limited."""
    long = tmp_path / ("x" * 80)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with open_network(None, (20000, 29999)) as network:
        assert isinstance(network, LocalNetwork)
        network.listen(zmq.PULL, "confirmations-1000").close()


def test_folders_of_killed_runs_are_removed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A run removes folders that killed ones left; those of runs that go on, new ones and links are left alone."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("actors.network._LONGEST_FOLDER", 200)
    for name in ("killed", "live", "new"):
        (tmp_path / f"cluster-sim-run-{name}").mkdir()
        (tmp_path / f"cluster-sim-run-{name}" / "router").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "cluster-sim-run-link").symlink_to(tmp_path / "elsewhere")
    with DirectoryLock(tmp_path / "cluster-sim-run-live"):
        for name in ("killed", "live"):
            os.utime(tmp_path / f"cluster-sim-run-{name}", (0, 0))
        os.utime(tmp_path / "cluster-sim-run-link", (0, 0), follow_symlinks=False)
        with open_network(None, (20000, 29999)) as network:
            assert isinstance(network, LocalNetwork)
            left = {path.name.removeprefix("cluster-sim-run-") for path in tmp_path.iterdir()}
            assert left == {
                "live",
                "new",
                "link",
                "elsewhere",
                Path(network.folder).name.removeprefix("cluster-sim-run-"),
            }


def test_runs_between_nodes_listen_at_their_own_address() -> None:
    """Sockets listen at the address that the router's node can reach, loopback where that is this machine."""
    with open_network("127.0.0.1", (20000, 29999)) as network:
        assert isinstance(network, ClusterNetwork)
        listener = network.listen(zmq.PULL, "router")
        assert listener.endpoint.startswith("tcp://127.0.0.1:")
        listener.close()
    mine = own_address("192.0.2.1")
    assert mine not in ("0.0.0.0", "")
    assert own_address(mine) == mine


def test_zeromq_without_encryption_is_wrong_input() -> None:
    """Without CURVE a run between nodes does not start, and the message says what to install."""
    with (
        mock.patch("zmq.has", return_value=False),
        pytest.raises(InputError, match=r"pyzmq cannot encrypt .*wheel"),
        open_network("127.0.0.1", (20000, 29999)),
    ):
        pass


def test_log_has_one_line_a_second(caplog: pytest.LogCaptureFixture) -> None:
    """Of many drops the first is logged, then at most one line a second, and the rest at the end."""
    with mock.patch("actors.dropped_frames.time.monotonic") as clock:
        clock.return_value = 100.0
        dropped = DroppedFrames("actor 1")
        for _ in range(1000):
            dropped.add("a frame of another run")
        clock.return_value = 101.0
        dropped.add("a frame of several parts", 3)
        dropped.add("a frame of another run")
        dropped.close()
        dropped.close()
    assert [record.getMessage() for record in caplog.records] == [
        "actor 1 dropped 1 frame or connection of strangers, 1 in all: a frame of another run",
        "actor 1 dropped 1002 frames or connections of strangers, 1003 in all: a frame of several parts",
        "actor 1 dropped 1 frame or connection of strangers, 1004 in all: the last before the end of the run",
    ]
    assert dropped.remark() == "; 1004 frames or connections of strangers were dropped"


def test_a_port_range_without_a_free_port_is_wrong_input() -> None:
    """Where every port of the range is taken, the message names the key and the range."""
    with sockets.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"^run\.port_range: none of the ports {port} to {port} is free at "):
            cluster_network((port, port)).listen(zmq.PULL, "router")
