"""Networks of a run without Ray."""

from pathlib import Path

import pytest

from actors.network import ClusterNetwork, LocalNetwork, Network, new_keys

PORTS = (20000, 29999)


@pytest.fixture(params=["one node", "several nodes"])
def network(request: pytest.FixtureRequest, tmp_path: Path) -> Network:
    """The network of a run on one node, and of one between nodes."""
    return LocalNetwork(str(tmp_path)) if request.param == "one node" else cluster_network()


def cluster_network(ports: tuple[int, int] = PORTS) -> ClusterNetwork:
    """Return the network of a run between nodes that are all this machine."""
    return ClusterNetwork("127.0.0.1", ports, new_keys())
