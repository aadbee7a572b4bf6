"""Explanation of one request: where its time went, and why it was slow."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster_sim.errors import InputError
from cluster_sim.metrics.time_parts import PARTS, Fleet, time_parts_ns
from cluster_sim.recording.reasons import LOSSES
from cluster_sim.recording.statuses import FINISHED
from cluster_sim.report.console import print_whole
from cluster_sim.report.request_phases import GAP_COLUMNS, preemption_gaps
from cluster_sim.report.request_times import RequestTimes, read_request_times, request_blocks, run_end_ns
from cluster_sim.report.result_tables import duration_text
from cluster_sim.report.run_data import RunData
from cluster_sim.shown_values import counted
from cluster_sim.units import NS_PER_S

_SHOWN: Final = (
    *("request_id", "session_id", "tenant", "model", "pool", "replica", "prefill_replica", "status", "reason"),
    *("arrival_s", "dispatch_s", "scheduled_s", "first_token_s", "finish_s", "ttft_s", "tpot_s", "e2e_s"),
    *("prompt_tokens", "output_tokens", "cached_tokens", "generated_tokens", "preemptions", "retries"),
)
"""Columns of the request's row that an explanation gives again."""

_MOST_GAPS: Final = 20
"""Preemptions that the table lists one by one."""

_SLOW_PARTS: Final = {
    "router": "it waited at the router",
    "encoding": "its images or other media waited for an encoder, or took long there",
    "cold_start": "the replica that took it was still starting",
    "failed_attempts": "attempts to serve it failed, and it was tried again",
    "network": "the links between router and replica are slow",
    "queue": "it waited at its replica before it was first computed",
    "prefill": "its prompt takes long even alone",
    "prefill_batch": "its prompt shared batches with other requests",
    "handover": "its prompt was computed, and the decode replica had no room or was busy",
    "transfer": "its KV cache took long to move",
    "preemption": "it was preempted, and its KV cache was computed again or brought back",
    "decode": "its answer takes long even alone",
    "decode_batch": "its tokens were generated in batches with other requests",
}
"""The cause that a part stands for when it is what exceeds the run's median most."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is to be said of one request."""

    row: dict[str, Any]
    parts_s: dict[str, float]
    parts_ns: dict[str, int]
    """The same in ns; they add up to the time from its arrival to its end."""
    median_parts_s: dict[str, float]
    """Of the finished requests of the run."""
    sentences: list[str]
    cause: str | None
    """The part that exceeds its median most; None for a request that is no slower than the median."""
    slower_than_ratio: float | None
    """Share of the finished requests that took less time; None for one that did not finish."""
    preemptions_s: list[tuple[float, float]]
    """(start, end) of everything that preemptions took; times at the replica."""
    at_replica: dict[str, float] | None
    """What its replica had at the last tick before it was first computed; None if that is not known."""

    def to_plain(self) -> dict[str, Any]:
        """Return it as plain data for JSON."""
        return {
            **self.row,
            "total_s": sum(self.parts_ns.values()) / NS_PER_S,
            "parts_s": self.parts_s,
            "parts_ns": self.parts_ns,
            "median_parts_s": self.median_parts_s,
            "cause": self.cause,
            "slower_than_ratio": self.slower_than_ratio,
            "preemption_gaps": [{"start_s": start_s, "end_s": end_s} for start_s, end_s in self.preemptions_s],
            "at_replica": self.at_replica,
            "sentences": self.sentences,
        }


def explain_request(data: RunData, request_id: int) -> Explanation:
    """Return where the time of a request went.

    Raises InputError if the run has no such request, or if its tables cannot be read.
    """
    row = _row(data, request_id)
    gaps_s = preemption_gaps(data.requests(list(GAP_COLUMNS), request_id=request_id).slice(0, 1).to_pylist()[0])
    parts_ns = _parts_ns(data, request_id)
    times = read_request_times(data)
    median = times.median_parts_s()
    parts_s = {name: value / NS_PER_S for name, value in parts_ns.items()}
    total_ns = sum(parts_ns.values())
    is_finished = row["status"] == FINISHED
    slower_than = float(np.mean(times.e2e_ns < total_ns)) if is_finished else None
    cause = _cause(parts_s, times) if is_finished and total_ns > np.median(times.e2e_ns) else None
    at_replica = _at_replica(data, row)
    sentences = [
        _outcome(row, total_ns / NS_PER_S, slower_than),
        *_reason(row, parts_s, median, cause),
        *_replica_sentence(row, at_replica),
        *_token_sentences(row),
    ]
    return Explanation(row, parts_s, parts_ns, median, sentences, cause, slower_than, gaps_s, at_replica)


def print_explanation(console: Console, explanation: Explanation) -> None:
    """Print the sentences, then the table of the parts that took any time, here or in the run."""
    for sentence in explanation.sentences:
        console.print(Text(sentence), soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("time went to", no_wrap=True)
    for title in ("time", "share", "median of the run"):
        table.add_column(title, justify="right", no_wrap=True)
    total_s = sum(explanation.parts_s.values())
    for name, words in PARTS.items():
        seconds, median_s = explanation.parts_s[name], explanation.median_parts_s.get(name)
        if seconds or median_s:
            share = f"{seconds / total_s:.1%}" if total_s else "-"
            table.add_row(words, duration_text(seconds), share, duration_text(median_s))
        if name == "preemption":
            for gap in _gap_rows(explanation.preemptions_s):
                table.add_row(*gap)
    table.add_row("together", duration_text(total_s), "100.0%" if total_s else "-", "")
    console.print()
    print_whole(console, table)


def _gap_rows(gaps_s: list[tuple[float, float]]) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row of the table for each of several preemptions; of many, for the longest ones."""
    if len(gaps_s) < 2:
        return
    longest = sorted(gaps_s, key=lambda gap: gap[0] - gap[1])[:_MOST_GAPS]
    for start_s, end_s in sorted(longest):
        yield f"  from {start_s:,.6g} s on", duration_text(end_s - start_s), "", ""
    if len(gaps_s) > len(longest):
        yield f"  {counted(len(gaps_s) - len(longest), 'shorter one')}", "", "", ""


def _row(data: RunData, request_id: int) -> dict[str, Any]:
    """Return the columns of a request's row that are shown."""
    ids = data.requests(["request_id"]).column(0).to_numpy()
    if request_id not in ids:
        known = f"its ids run from {ids.min()} to {ids.max()}" if len(ids) else "it has none"
        raise InputError(f"{data.directory}: has no request {request_id}; {known}")
    row: dict[str, Any] = data.requests(list(_SHOWN), request_id=request_id).slice(0, 1).to_pylist()[0]
    return row


def _parts_ns(data: RunData, request_id: int) -> dict[str, int]:
    fleet, end_ns = Fleet.from_summary(data.summary), run_end_ns(data)
    for block in request_blocks(data):
        here = block.rows[block.column("request_id") == request_id]
        if len(here):
            parts = time_parts_ns(block._replace(rows=here[:1]), fleet, end_ns)
            return dict(zip(PARTS, parts[0].tolist(), strict=True))
    raise InputError(f"{data.directory}: has no request {request_id}")


def _cause(parts_s: dict[str, float], times: RequestTimes) -> str:
    median = times.median_parts_s()
    return max(PARTS, key=lambda name: parts_s[name] - median[name])


def _at_replica(data: RunData, row: dict[str, Any]) -> dict[str, float] | None:
    """Return the state of the replica that computed the prompt, at the last tick before it began to."""
    replica = row["replica"] if row["prefill_replica"] is None else row["prefill_replica"]
    until_s = row["scheduled_s"] if row["scheduled_s"] is not None else row["finish_s"]
    if replica is None or until_s is None:
        return None
    series = data.series()
    before = np.flatnonzero((series["replica"] == replica) & (series["time_s"] <= until_s))
    if not len(before):
        return None
    last = before[np.argmax(series["time_s"][before])]
    return {name: float(series[name][last]) for name in ("time_s", "running", "waiting", "kv_used_ratio")}


def _outcome(row: dict[str, Any], total_s: float, slower_than: float | None) -> str:
    """Return the sentence that says what became of the request."""
    request = f"Request {row['request_id']}"
    if slower_than is None:
        why = LOSSES.get(row["reason"] or "", "the run ended" if row["status"] == "unfinished" else "")
        return f"{request} is {row['status']}{f' ({why})' if why else ''}, {duration_text(total_s)} after its arrival."
    first = f" (first token after {duration_text(row['ttft_s'])})"
    return (
        f"{request} finished {duration_text(total_s)} after its arrival{first}: slower than {slower_than:.1%} of the "
        "finished requests."
    )


def _reason(row: dict[str, Any], parts_s: dict[str, float], median: dict[str, float], cause: str | None) -> list[str]:
    """Return the sentence that says what made the request slow, or where its time went if it was not."""
    total_s = sum(parts_s.values())
    if not total_s:
        return []
    if cause is None:
        most = max(parts_s, key=lambda name: parts_s[name])
        slow = "It was no slower than the median request. " if row["status"] == FINISHED else ""
        return [f"{slow}Most of the time, {_of_total(parts_s[most], total_s)}, went to: {PARTS[most]}."]
    seconds, usual = parts_s[cause], median[cause]
    more = f"{duration_text(usual)} is the median" if usual else "most requests lose no time there"
    return [f"It was slow mainly because {_SLOW_PARTS[cause]}: {_of_total(seconds, total_s)}; {more}."]


def _of_total(seconds: float, total_s: float) -> str:
    return f"{duration_text(seconds)} ({seconds / total_s:.0%})"


def _replica_sentence(row: dict[str, Any], at_replica: dict[str, float] | None) -> list[str]:
    if at_replica is None:
        return []
    replica = row["replica"] if row["prefill_replica"] is None else row["prefill_replica"]
    waiting = counted(round(at_replica["waiting"]), "waiting request")
    state = f"{at_replica['running']:,.0f} running and {waiting}"
    kv = f"{at_replica['kv_used_ratio']:.0%} of its KV blocks in use"
    began = "began to compute it" if row["scheduled_s"] is not None else "was to compute it"
    return [f"Replica {replica} had {state} and {kv} at {at_replica['time_s']:,.6g} s, before it {began}."]


def _token_sentences(row: dict[str, Any]) -> list[str]:
    cached = f", {row['cached_tokens']:,} of them cached" if row["cached_tokens"] else ""
    answer = f"{counted(row['output_tokens'], 'token')} of answer"
    if row["generated_tokens"] < row["output_tokens"]:
        answer = f"{row['generated_tokens']:,} of {answer}"
    texts = [f"It has {counted(row['prompt_tokens'], 'token')} of prompt{cached}, and {answer}."]
    if row["preemptions"]:
        texts.append(f"It was preempted {_times(row['preemptions'])}.")
    if row["retries"]:
        texts.append(f"It was sent again {_times(row['retries'])}.")
    return texts


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count:,} times")
