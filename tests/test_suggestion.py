"""Suggestions for unknown words."""

import pytest

from cluster_sim.suggestion import suggestion


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("h100", ["h200", "h100-sxm", "h100-pcie"], "; did you mean 'h100-pcie' or 'h100-sxm'?"),
        ("h1000", ["h200", "h100-sxm"], "; did you mean 'h200'?"),
        ("vllm", ["orca", "vllm_v0"], "; did you mean 'vllm_v0'?"),
        ("H100-SXM", ["h200", "h100-sxm", "h100-pcie"], "; did you mean 'h100-sxm'?"),
        ("H100", ["h200", "h100-sxm", "h100-pcie"], "; did you mean 'h100-pcie' or 'h100-sxm'?"),
        ("Least_Outstanding", ["random", "least_outstanding"], "; did you mean 'least_outstanding'?"),
        ("least-outstanding", ["random", "least_outstanding"], "; did you mean 'least_outstanding'?"),
        ("x", ["orca"], ""),
        ("", ["-orca"], ""),
    ],
)
def test_suggestion(word: str, known: list[str], expected: str) -> None:
    """A name's first part suggests all names that go on from it; else the nearest name, or none."""
    assert suggestion(word, known) == expected
