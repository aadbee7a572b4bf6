"""Environment variables of Ray."""

import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from actors.environment import prepare_ray
prepare_ray({address!r})
assert "ray" not in sys.modules
print(os.environ["RAY_USAGE_STATS_ENABLED"], os.environ.get("RAY_AUTH_MODE"), len(os.environ.get("RAY_AUTH_TOKEN", "")))
"""


@pytest.mark.parametrize(
    ("address", "environment", "expected"),
    [
        (None, {}, "0 token 64"),
        (None, {"RAY_AUTH_MODE": "disabled"}, "0 disabled 0"),
        (None, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "mine"}, "0 token 4"),
        ("head:6379", {}, "0 None 0"),
    ],
)
def test_a_local_cluster_gets_a_token(address: str | None, environment: dict[str, str], expected: str) -> None:
    """A cluster started here is closed to others unless the user decided otherwise; a joined one is left alone."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(address=address)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == expected
