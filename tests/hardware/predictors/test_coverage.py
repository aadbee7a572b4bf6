"""The limit on extrapolation."""

import pytest

from cluster_sim.errors import InputError
from cluster_sim.hardware.predictors.coverage import check_coverage


def test_limit_by_hand() -> None:
    """One in four extrapolated passes a limit of a quarter and fails one of a fifth, with the numbers."""
    check_coverage(75, 25, 0.25)
    check_coverage(0, 0, 0.0)
    check_coverage(0, 10, 1.0)
    with pytest.raises(InputError, match=r"max_extrapolated is 0\.2, but 25 of 100 step predictions \(25\.0%\)"):
        check_coverage(75, 25, 0.2)
