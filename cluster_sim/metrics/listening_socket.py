"""Socket at which live metrics are served."""

import socket

from cluster_sim.errors import InputError
from cluster_sim.metrics.metrics_options import LOOPBACK

_BACKLOG = 128


def listening_socket(port: int, host: str = LOOPBACK) -> socket.socket:
    """Return a socket that listens at a port of this machine; 0 takes any that is free.

    Raises ``InputError`` if the port is taken, or ``host`` is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OverflowError as error:
        raise InputError(f"--metrics-port {port}: must be a port from 0 to 65535") from error
    except socket.gaierror as error:
        raise InputError(f"--metrics-host {host}: is no address of this machine ({error.strerror})") from error
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"--metrics-host {host} --metrics-port {port}: cannot be served ({reason}); the host must be an "
            "address of this machine, and the port free"
        ) from error
