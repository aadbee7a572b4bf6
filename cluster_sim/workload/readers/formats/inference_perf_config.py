"""inference-perf's configuration: the load of its stages on shared prefixes, as requests.

Request i of a stage comes i / rate after the stage's start (or by exponential gaps of a fixed seed); users take turns.
In a multi-turn chat a user's next question waits for the answer before, and carries the conversation.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import yaml

from cluster_sim.errors import InputError
from cluster_sim.suggestion import suggestion
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.files.csv_file import MOST_TOKENS_IN_FILE
from cluster_sim.workload.files.file_access import one_line, read_head, shown, shown_names
from cluster_sim.workload.readers.json_rows import kind_of_value
from cluster_sim.workload.readers.reader_interface import MOST_SECONDS, ReadOptions, ReadReport
from cluster_sim.workload.readers.session_reader import SessionReader
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions
from cluster_sim.workload.sampling.random_streams import Stream
from cluster_sim.workload.sessions.recorded_session import RecordedSession, RecordedTurn

_MOST_BYTES: Final = 1 << 20
_MOST_ITEMS: Final = 500_000
_LOAD: Final = ("type", "stages", "interval", "num_workers", "worker_max_concurrency", "worker_max_tcp_connections")
_PREFIX: Final = (
    "num_unique_system_prompts",
    "num_groups",
    "num_users_per_system_prompt",
    "num_prompts_per_group",
    "system_prompt_len",
    "question_len",
    "output_len",
    "enable_multi_turn_chat",
    "seed",
)
_OWN: Final = 1 << 42
Mapping = dict[str, Any]


class InferencePerfConfigFormat(TraceFormatOptions):
    """YAML configuration of inference-perf: stages of a rate on shared prefixes, single or multi-turn."""

    kind: Literal["inference_perf_config"] = "inference_perf_config"


@TRACE_READERS.register("inference_perf_config", InferencePerfConfigFormat)
class InferencePerfConfigReader(SessionReader):
    """Requests made as inference-perf makes them."""

    names = ("load", "api", "server", "data")
    sample = (
        b"load:\n  type: constant\n  stages: [{rate: 2, duration: 2}]\ndata:\n  type: shared_prefix\n"
        b"  shared_prefix: {num_groups: 1, num_prompts_per_group: 2, system_prompt_len: 9, question_len: 4, "
        b"output_len: 3}\n"
    )

    def recognises(self, path: Path, head: bytes) -> bool:
        """Return whether the file has a load and data, and is no study."""
        lines = {line.split(b":", 1)[0] for line in head.split(b"\n") if line[:1].isalpha() and b":" in line}
        return {b"load", b"data"} <= lines and b"workload" not in lines

    def sessions(self, path: Path, options: ReadOptions, report: ReadReport) -> list[RecordedSession]:
        """Return the users' sessions, or single requests where questions are single."""
        text = read_head(path, _MOST_BYTES)
        document = _Block(path, text, _load(path, text), "")
        report.note(document.values, ("load", "data"))
        load, data = document.block("load"), document.block("data")
        load.refuse_others(_LOAD)
        kind = data.choice("type", ("shared_prefix",))
        prefix = data.block(kind)
        prefix.refuse_others(_PREFIX)
        report.unused.update(dict.fromkeys(f"load.{name}" for name in _LOAD[3:] if name in load.values))
        return _sessions(list(_times_ns(load)), _Questions(prefix), options, report)


class _Block:
    """A mapping of the configuration, with the keys that lead to it."""

    def __init__(self, path: Path, text: bytes, values: Any, name: str) -> None:
        self.path, self.text, self._name = path, text, name
        if not isinstance(values, dict):
            raise InputError(f"{path}: {name or 'the file'}: a {kind_of_value(values)}, not keys and values")
        self.values: Mapping = {str(key): value for key, value in values.items()}

    def key(self, name: str) -> str:
        return f"{self._name}.{name}" if self._name else name

    def error(self, name: str, text: str) -> InputError:
        outer = self._name.rpartition(".")[2]
        begin = max(self.text.find(f"{outer}:".encode()), 0) if outer else 0
        mark = re.compile(rb"^[\s\-{]*" + re.escape(name.encode()) + rb"\s*:", re.MULTILINE).search(self.text, begin)
        line = f" line {_lines_before(self.text, mark.end()) + 1}:" if mark else ""
        return InputError(f"{self.path}:{line} {self.key(name)}: {text}")

    def get(self, *names: str) -> Any:
        for name in names:
            if name in self.values:
                return self.values[name]
        hint = suggestion(names[0], list(self.values))
        raise self.error(names[0], f"is missing; there are: {shown_names(self.values)}{hint}")

    def block(self, name: str) -> "_Block":
        return _Block(self.path, self.text, self.get(name), self.key(name))

    def choice(self, name: str, known: tuple[str, ...]) -> str:
        value = self.get(name)
        if value not in known:
            raise self.error(name, f"'{shown(value)}' is not understood; known: {', '.join(known)}")
        return str(value)

    def number(self, *names: str, least: float, most: float) -> float:
        value = self.get(*names)
        name = next(name for name in names if name in self.values)
        if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
            raise self.error(name, f"'{shown(value)}' is not a number from {least:g} to {most:g}")
        return value

    def whole(self, *names: str, least: int = 1) -> int:
        value = self.number(*names, least=least, most=MOST_TOKENS_IN_FILE)
        if value != int(value):
            raise self.error(names[0], f"{value} is not a whole number")
        return int(value)

    def refuse_others(self, known: tuple[str, ...]) -> None:
        for name in self.values:
            if name not in known:
                hint = suggestion(name, list(known))
                raise self.error(name, f"is not understood{hint}; known: {', '.join(known)}")


def _lines_before(text: bytes, place: int) -> int:
    return text.count(b"\n", 0, place)


class _Questions:
    """The prompts: every user has a question on the system prompt of a group."""

    def __init__(self, block: _Block) -> None:
        self.groups = block.whole("num_unique_system_prompts", "num_groups")
        self.users = self.groups * block.whole("num_users_per_system_prompt", "num_prompts_per_group")
        self.system = block.whole("system_prompt_len", least=0)
        self.question = block.whole("question_len")
        self.output = block.whole("output_len")
        is_chat = block.values.get("enable_multi_turn_chat", False)
        if not isinstance(is_chat, bool):
            raise block.error("enable_multi_turn_chat", f"'{shown(is_chat)}' is neither true nor false")
        self.is_chat = is_chat


def _times_ns(load: _Block) -> Iterator[int]:
    """Yield the times of all requests in order."""
    kind = load.choice("type", ("constant", "poisson"))
    pause_s = load.number("interval", least=0, most=MOST_SECONDS) if "interval" in load.values else 1.0
    stages = load.get("stages")
    if not isinstance(stages, list) or not stages:
        raise load.error("stages", f"a {kind_of_value(stages)} where a list of stages is expected")
    stream = Stream(0, "inference_perf")
    start_s, count = 0.0, 0
    for number, values in enumerate(stages):
        stage = _Block(load.path, load.text, values, load.key(f"stages.{number}"))
        stage.refuse_others(("rate", "duration"))
        rate = stage.number("rate", least=1e-9, most=1e9)
        duration_s = stage.number("duration", least=1e-9, most=MOST_SECONDS)
        requests = int(rate * duration_s)
        if count + requests > _MOST_ITEMS:
            raise stage.error("rate", f"the stages have more than {_MOST_ITEMS:,} requests")
        offsets = np.arange(requests) / rate
        if kind == "poisson":
            offsets = np.cumsum(-np.log1p(-stream.uniforms(count, requests))) / rate
        yield from (round((start_s + offset) * NS_PER_S) for offset in offsets.tolist())
        count += requests
        start_s += duration_s + pause_s


def _sessions(
    times_ns: list[int], questions: _Questions, options: ReadOptions, report: ReadReport
) -> list[RecordedSession]:
    """Return the requests: users in turn, as one session each in a chat."""
    report.rows += len(times_ns)
    base = options.segment_base
    chats: dict[int, RecordedSession] = {}
    sessions: list[RecordedSession] = []
    for number, time_ns in enumerate(times_ns):
        user = number % questions.users
        session = chats.get(user) if questions.is_chat else None
        if session is not None:
            before = len(session.turns) - 1
            session.turns.append(RecordedTurn(questions.question, questions.output, time_ns, after=before))
            continue
        session = RecordedSession(time_ns)
        chats[user] = session
        sessions.append(session)
        segments = ((base + user % questions.groups, questions.system), (base + _OWN + user, questions.question))
        content = segments[0 if questions.system else 1 :] if options.prefixes else ()
        session.turns.append(RecordedTurn(questions.system + questions.question, questions.output, segments=content))
    return sessions


def _load(path: Path, text: bytes) -> Any:
    """Return the document; InputError for what is not YAML, or more than one document."""
    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        if error.context == "expected a single document in the stream":
            raise InputError(f"{path}: line {line}: a second document begins here; one is expected") from None
        raise InputError(f"{path}: line {line}: not YAML: {shown(error.problem, 120)}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: not YAML ({one_line(error)})") from None
