"""Fixtures that all tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

# A loaded machine may take long over what a test draws, and no test asserts wall time.  What is drawn is the same in
# every run of the suite; `make soak` draws anew.  A failing example is shrunk but not explained: tracing a
# simulation line by line takes longer than the suite.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink)
QUIET = [HealthCheck.too_slow]
settings.register_profile("project", deadline=None, derandomize=True, phases=PHASES, suppress_health_check=QUIET)
settings.register_profile("drawn_anew", deadline=None, phases=PHASES, suppress_health_check=QUIET)
settings.load_profile("project")

# Tests look into the sources' objects; those that compare the kernels name the compiled one themselves.
os.environ["CLUSTER_SIM_KERNEL"] = "python"

CHECKOUT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the checkout."""
    return CHECKOUT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of traces and measurements beside the checkout; tests that need it are skipped without."""
    folder = CHECKOUT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"needs the traces and measurements of {folder}, which is not there")
    return folder
