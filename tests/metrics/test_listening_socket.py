"""Tests of the socket of live metrics."""

import pytest

from cluster_sim.errors import InputError
from cluster_sim.metrics.listening_socket import listening_socket


def test_place_that_cannot_be_served_is_wrong_input() -> None:
    """A taken port, a host of another machine and a port beyond all give one message that names the options."""
    with listening_socket(0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"--metrics-port {port}: cannot be served"):
            listening_socket(port)
    with pytest.raises(InputError, match="--metrics-port 70000: must be a port from 0 to 65535"):
        listening_socket(70_000)
    with pytest.raises(InputError, match=r"--metrics-host 203\.0\.113\.7 .*address of this machine"):
        listening_socket(0, "203.0.113.7")
    with pytest.raises(InputError, match=r"--metrics-host a\.\.b"):
        listening_socket(0, "a..b")
