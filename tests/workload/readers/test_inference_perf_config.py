"""The load that a configuration of inference-perf makes."""

from collections.abc import Callable
from typing import Any

import pytest

from cluster_sim.errors import InputError
from cluster_sim.workload.build import build_source

CONFIG = """\
load:
  type: constant
  interval: 2
  stages:
  - {rate: 2, duration: 2}
  - {rate: 4, duration: 1}
data:
  type: shared_prefix
  shared_prefix:
    num_unique_system_prompts: 2
    num_users_per_system_prompt: 1
    system_prompt_len: 100
    question_len: 10
    output_len: 5
    enable_multi_turn_chat: false
"""


def test_single_questions(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """Two a second for 2 s, a pause of 2 s, four a second; users of two system prompts take turns."""
    _, driven = drive({"kind": "trace", "path": trace_file(CONFIG, "c.yml")})
    assert [one.arrival_ns / 1e9 for one in driven.requests] == [0, 0.5, 1, 1.5, 4, 4.25, 4.5, 4.75]
    assert {(one.prompt_tokens, one.output_tokens) for one in driven.requests} == {(110, 5)}
    first, second, third = (one.attributes.segments for one in driven.requests[:3])
    assert first == third
    assert first[0][1] == second[0][1] == 100
    assert first[0][0] != second[0][0]


def test_multi_turn_chats(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """A user's next question waits for its time and the answer before, and carries the conversation."""
    path = trace_file(CONFIG.replace("chat: false", "chat: true"), "c.yml")
    _, driven = drive({"kind": "trace", "path": path}, service_ns=lambda _: 1_200_000_000)
    own = [
        (one.arrival_ns // 1_000_000, one.prompt_tokens) for one in driven.requests if one.attributes.session_id == 0
    ]
    assert own == [(0, 110), (1200, 125), (4000, 140), (5200, 155)]


def test_poisson_stages(trace_file: Callable[..., str], drive: Callable[..., Any]) -> None:
    """Gaps are drawn, always the same, as many as the rate says."""
    path = trace_file(CONFIG.replace("constant", "poisson").replace("duration: 2", "duration: 2000"), "c.yml")
    _, driven = drive({"kind": "trace", "path": path})
    last_s = driven.requests[3999].arrival_ns / 1e9
    assert last_s == pytest.approx(2000, rel=0.05)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("type: constant", "type: sweep", "line 2: load.type: 'sweep' is not understood; known: constant, poisson"),
        (
            "question_len: 10",
            "question_len: [10]",
            r"line 13: data.shared_prefix.question_len: '\[10\]' is not a number",
        ),
        ("    question_len: 10\n", "", "data.shared_prefix.question_len: is missing"),
        ("question_len: 10", "question_lenn: 10", "question_lenn: is not understood; did you mean 'question_len'"),
        ("{rate: 2, duration: 2}", "{rate: fast, duration: 2}", "load.stages.0.rate: 'fast' is not a number"),
        (
            "  type: shared_prefix",
            "  type: sharegpt",
            "line 8: data.type: 'sharegpt' is not understood; known: shared_prefix",
        ),
        ("chat: false", "chat: maybe", "enable_multi_turn_chat: 'maybe' is neither true nor false"),
        ("data:", "---\ndata:", "line 7: a second document begins here"),
        ("interval: 2", "interval: [2", "not YAML"),
    ],
)
def test_wrong_configurations(
    trace_file: Callable[..., str], parse: Callable[..., Any], old: str, new: str, message: str
) -> None:
    """The message names file, line and key, what is known, and the nearest."""
    path = trace_file(CONFIG.replace(old, new), "c.yml")
    with pytest.raises(InputError, match=message):
        build_source(parse(kind="trace", format="inference_perf_config", path=path), 1)
