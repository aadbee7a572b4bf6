"""The search of the highest load: bracket, bisection, limits."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.config.loading.load import check_study
from cluster_sim.config.loading.template import study_template
from cluster_sim.config.schema.study import Study
from cluster_sim.document import Document
from cluster_sim.errors import InputError
from cluster_sim.metrics.objectives import Limit
from cluster_sim.study.capacity import (
    FOUND,
    NONE,
    UNBOUNDED,
    CapacityTask,
    Search,
    at_rate,
    highest_rate,
    is_within,
    rate_of,
    search_capacity,
)

LIMITS = [Limit("ttft_s", "p99", 2.0)]


def summary(ttft_p99_s: float | None, **requests: int) -> dict[str, Any]:
    counts = dict.fromkeys(("finished", "refused", "failed", "cancelled", "shed", "unfinished"), 0)
    return {"requests": counts | {"finished": 10} | requests, "ttft_s": {"p99": ttft_p99_s}}


def study(*lines: tuple[str, str]) -> Study:
    text = study_template()
    for old, new in lines:
        assert old in text
        text = text.replace(old, new)
    return check_study(Document.parse(text, "study.yaml"), Path.cwd())


@given(start=st.floats(0.01, 1000), true=st.floats(0.01, 1000), tolerance=st.floats(0.005, 0.3))
def test_finds_the_limit(start: float, true: float, tolerance: float) -> None:
    """The answer is a rate that was run, keeps the limits, and lies at most the tolerance below the true limit."""
    ran = []

    def run(rate: float) -> dict[str, Any]:
        ran.append(rate)
        return summary(1.0 if rate <= true else 3.0)

    answer = highest_rate(Search(start, tolerance, 64), run, LIMITS)
    assert answer.status == FOUND
    assert answer.rate_per_s in ran
    assert answer.rate_per_s is not None
    assert answer.rate_per_s <= true <= answer.rate_per_s * (1 + tolerance)
    assert answer.runs == len(ran)


def test_hand_worked_search() -> None:
    """From 4 with the limit at 10: 4 and 8 pass, 16 fails, then the geometric means until within 25 %."""
    ran: list[float] = []

    def run(rate: float) -> dict[str, Any]:
        ran.append(rate)
        return summary(1.0 if rate <= 10 else 3.0)

    answer = highest_rate(Search(4.0, 0.25, 64), run, LIMITS)
    assert ran == pytest.approx([4, 8, 16, 11.3137, 9.5137], rel=1e-5)
    assert answer.rate_per_s == pytest.approx(9.5137, rel=1e-5)


def test_no_rate_and_every_rate() -> None:
    """Where every rate breaks a limit, or none does, the search says so after its last run."""
    nothing = highest_rate(Search(1.0, 0.1, 5), lambda _: summary(3.0), LIMITS)
    assert (nothing.status, nothing.rate_per_s, nothing.runs) == (NONE, None, 5)
    all_of_them = highest_rate(Search(1.0, 0.1, 5), lambda _: summary(1.0), LIMITS)
    assert (all_of_them.status, all_of_them.rate_per_s, all_of_them.runs) == (UNBOUNDED, 16.0, 5)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (summary(2.0), True),
        (summary(2.1), False),
        (summary(None), True),
        (summary(1.0, refused=3), True),
        (summary(1.0, unfinished=1), False),
        (summary(1.0, failed=1), False),
        (summary(1.0, finished=0), False),
    ],
)
def test_limits(case: dict[str, Any], expected: bool) -> None:
    """A limit may be met exactly; refused requests do not count, requests lost or left over do."""
    assert is_within(case, LIMITS) is expected


def test_rates_of_workloads(tmp_path: Path) -> None:
    """The rate of synthetic arrivals and of a trace can be changed; nothing else does but the trace's scale of time."""
    synthetic = study()
    assert rate_of(synthetic) == 10.0
    faster = at_rate(synthetic, 12.5)
    assert rate_of(faster) == 12.5
    assert at_rate(faster, 10.0) == synthetic
    file = tmp_path / "trace.csv"
    file.touch()
    trace = Study.model_validate(
        synthetic.model_dump()
        | {"workload": {"kind": "trace", "format": "azure", "path": str(file), "time_scale": 0.5}}
    )
    assert rate_of(trace) is None
    expected = trace.model_dump()
    expected["workload"] |= {"request_rate": 3.0, "time_scale": 1.0}
    assert at_rate(trace, 3.0).model_dump() == expected


def test_what_cannot_be_searched() -> None:
    """A study without limits is refused."""
    unlimited = study(("ttft_p99_s: 2.0", "ttft_p99_s: null"), ("tpot_p99_s: 0.1", "tpot_p99_s: null"))
    with pytest.raises(InputError, match="needs at least one limit"):
        search_capacity(CapacityTask(unlimited, Search(1.0)))
