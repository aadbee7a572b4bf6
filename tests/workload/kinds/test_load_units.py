"""Units of load, and so many times the load, of every kind of workload."""

from pathlib import Path
from typing import Any

import pytest

from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.workload.kind_interface import kind_of

LENGTHS = {"prompt": {"kind": "fixed", "value": 10}, "output": {"kind": "fixed", "value": 5}}
STILL = {"kind": "fixed", "value": 1}
POISSON = {"kind": "poisson", "request_rate": 5}
SYNTHETIC = {"kind": "synthetic", "count": 9, "arrivals": POISSON, "lengths": LENGTHS}
USERS = {"kind": "closed_loop", "users": 9, "count": 9, "lengths": LENGTHS, "think_time_s": STILL}
SESSIONS = {"kind": "sessions", "count": 9, "arrivals": POISSON, "turns": STILL, "think_time_s": STILL}
SESSIONS |= {"lengths": LENGTHS}
STEPS = [{"name": "a", "lengths": LENGTHS}]


def kind(workload: dict[str, Any], folder: Path) -> Any:
    (folder / "trace.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,48,10\n2023-11-16 18:17:04,48,10\n"
    )
    pool = {"model": "llama-3-8b", "device": "h100-sxm"}
    return kind_of(Study.from_dict({"workload": workload, "fleet": {"pools": [pool]}}, folder).workload)


@pytest.mark.parametrize(
    ("workload", "unit", "changed"),
    [
        (SYNTHETIC, "requests", {"arrivals": {"request_rate": 10}}),
        (USERS, "users", {"users": 18}),
        (SESSIONS, "sessions", {"arrivals": {"request_rate": 10}}),
        (
            {"kind": "agentic", "count": 9, "arrivals": POISSON, "steps": STEPS},
            "sessions",
            {"arrivals": {"request_rate": 10}},
        ),
        ({"kind": "trace", "path": "trace.csv", "time_scale": 3}, "requests", {"time_scale": 1.5}),
        ({"kind": "trace", "path": "trace.csv", "request_rate": 3}, "requests", {"request_rate": 6}),
        ({"kind": "trace", "path": "trace.csv", "arrivals": POISSON}, "requests", {"arrivals": {"request_rate": 10}}),
        (
            {**SYNTHETIC, "max_concurrency": 3},
            "requests",
            {"arrivals": {"request_rate": 10}, "max_concurrency": 6},
        ),
        (
            {**SYNTHETIC, "arrivals": {**POISSON, "request_rate": float("inf")}, "max_concurrency": 3},
            "requests",
            {"max_concurrency": 6},
        ),
        ({"kind": "mix", "parts": [USERS, USERS]}, "users", {"parts": [{"users": 18}, {"users": 18}]}),
        (
            {"kind": "mix", "parts": [SYNTHETIC, SESSIONS]},
            "requests",
            {"parts": [{"arrivals": {"request_rate": 10}}, {"arrivals": {"request_rate": 10}}]},
        ),
        (
            {"kind": "phases", "phases": [{"duration_s": 3, "workload": SYNTHETIC}]},
            "requests",
            {"phases": [{"workload": {"arrivals": {"request_rate": 10}}}]},
        ),
    ],
)
def test_twice_the_load(workload: dict[str, Any], unit: str, changed: dict[str, Any], tmp_path: Path) -> None:
    """Twice the load is twice the rate of requests or sessions, or twice the users, and nothing else changes."""
    found = kind(workload, tmp_path)
    assert found.load_unit == unit
    before, after = found.options.model_dump(), found.scaled(2).model_dump()
    assert after == _merged(before, changed)


@pytest.mark.parametrize(
    ("arrivals", "changed"),
    [
        ({"kind": "gamma", "request_rate": 2, "burstiness": 0.5}, {"request_rate": 4}),
        (
            {
                "kind": "gamma",
                "request_rate": 2,
                "ramp_up_strategy": "linear",
                "ramp_up_start_rps": 1,
                "ramp_up_end_rps": 3,
            },
            {"request_rate": 4, "ramp_up_start_rps": 2, "ramp_up_end_rps": 6},
        ),
        (
            {"kind": "mmpp", "states": [{"request_rate": 1, "mean_stay_s": 5}, {"request_rate": 3, "mean_stay_s": 5}]},
            {"states": [{"request_rate": 2}, {"request_rate": 6}]},
        ),
        ({"kind": "ramp", "start_rate": 1, "end_rate": 20, "ramp_s": 6}, {"start_rate": 2, "end_rate": 40}),
        (
            {"kind": "spike", "request_rate": 5, "spike_rate": 50, "at_s": 6, "spike_s": 1},
            {"request_rate": 10, "spike_rate": 100},
        ),
        (
            {"kind": "step", "request_rate": 5, "steps": [{"at_s": 60, "request_rate": 20}]},
            {"request_rate": 10, "steps": [{"request_rate": 40}]},
        ),
    ],
)
def test_every_rate_of_a_process_is_scaled(arrivals: dict[str, Any], changed: dict[str, Any], tmp_path: Path) -> None:
    """A process with several rates keeps its shape."""
    found = kind({**SYNTHETIC, "arrivals": arrivals}, tmp_path)
    before, after = found.options.model_dump(), found.scaled(2).model_dump()
    assert after == _merged(before, {"arrivals": changed})


def test_what_cannot_be_varied_is_refused(tmp_path: Path) -> None:
    """All requests at once have no rate, and a recorded rate of ServeGen's clients is not a number."""
    at_once = {**POISSON, "request_rate": float("inf")}
    with pytest.raises(InputError, match="arrivals of kind poisson with all at once cannot be varied"):
        kind({**SYNTHETIC, "arrivals": at_once}, tmp_path).scaled(2)


def _merged(before: Any, changed: Any) -> Any:
    """Return plain data with some of its values changed, lists item by item."""
    if isinstance(changed, dict):
        return {key: _merged(value, changed[key]) if key in changed else value for key, value in before.items()}
    if isinstance(changed, list):
        return type(before)(_merged(old, new) for old, new in zip(before, changed, strict=True))
    return changed
