"""Fixtures that all tests share."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# A loaded machine may take long over what a test draws, and no test asserts wall time.
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")

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
