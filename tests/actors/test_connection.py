"""Joining a Ray cluster: wrong addresses are wrong input, quickly."""

import socket

import pytest

from actors.connection import ray_cluster
from cluster_sim.config.errors import InputError


@pytest.mark.parametrize("address", ["head", "head:port", "head:0", "head:70000"])
def test_address_must_have_a_port(address: str) -> None:
    """What is no HOST:PORT is refused with an example."""
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
