"""Joining a Ray cluster: wrong addresses are wrong input, quickly."""

import socket
import subprocess
import sys
import threading

import pytest

from actors.connection import ray_cluster
from cluster_sim.errors import InputError, UnfinishedError


@pytest.mark.parametrize("address", ["head", "head:port", "head:0", "head:70000"])
def test_address_must_have_a_port(address: str) -> None:
    """An address other than HOST:PORT is refused with an example."""
    with pytest.raises(InputError, match="must be HOST:PORT"), ray_cluster(address):
        pass


def test_client_connections_are_refused() -> None:
    """A Ray Client address is refused with what to do instead."""
    with pytest.raises(InputError, match="run this on a node of the cluster"), ray_cluster("ray://head:10001"):
        pass


def test_nobody_answers() -> None:
    """An address where nothing listens is refused without starting anything."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"127.0.0.1:{port}"
    with pytest.raises(InputError, match=f"--address {address}: no Ray cluster answers"), ray_cluster(address):
        pass


@pytest.mark.parametrize("greeting", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_somebody_else_answers(greeting: bytes) -> None:
    """A port of another service is told apart from a Ray head without asking Ray, which would try for minutes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(9)
                connection.sendall(greeting)

        answering = threading.Thread(target=answer)
        answering.start()
        with (
            pytest.raises(InputError, match=rf"^--address {address}: no .*(something else listens|reset)"),
            ray_cluster(address),
        ):
            pass
        answering.join()


def test_cluster_that_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that is not up in time, for which Ray raises a plain Exception, leaves the run unfinished."""

    def late(**_: object) -> None:
        raise Exception("The current node timed out during startup.")  # noqa: TRY002 - as Ray does

    monkeypatch.setattr("ray.init", late)
    with pytest.raises(UnfinishedError, match="a local Ray cluster did not start: The current node timed out"):
        ray_cluster(None, 1).__enter__()


@pytest.mark.ray
def test_nothing_of_ray_on_the_screen() -> None:
    """A local cluster starts and stops without a line of Ray's own."""
    program = "from actors.connection import ray_cluster\nwith ray_cluster(None, 1):\n    print('up')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=300)
    assert (done.stdout, done.stderr) == ("up\n", "")
