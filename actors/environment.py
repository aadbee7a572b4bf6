"""Environment variables of Ray, which it reads only before it is first imported."""

import os
import secrets
import sys


def prepare_ray(address: str | None) -> None:
    """Set this process up for Ray; call it before anything imports Ray.

    A local cluster (``address`` None) listens on every network interface of the machine and runs whatever code it is
    sent, so it gets a token that only this process and its children know.  What the user has set stays.
    """
    # Usage statistics would call home.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Ray announces that it will leave this variable alone; we have no accelerators either way.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Under `uv run` Ray would copy the working directory to every worker and install it again there.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    # Many actors share few cores, and the model uses no BLAS: its threads would only be in the way.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Ray starts its workers at niceness 15; here they are the run itself, and must not starve beside other programs.
    os.environ.setdefault("RAY_worker_niceness", "0")
    # Lines of Ray's own on the user's screen, when a part of the cluster is gone: the run says itself what that means.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # Small machines run many actors on few CPUs; Ray would warn of it, and start them two at a time.
    os.environ.setdefault("RAY_worker_maximum_startup_concurrency", "16")
    if address is None and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
