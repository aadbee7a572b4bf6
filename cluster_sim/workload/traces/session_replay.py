"""Replay of the sessions of a recorded trace: ordered, windowed, scaled, or started by an arrival process."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster_sim.errors import InputError
from cluster_sim.options import LONGEST_RUN_S
from cluster_sim.shown_values import by_number
from cluster_sim.units import NS_PER_S
from cluster_sim.workload.arrivals.arrival_process import ArrivalTimes
from cluster_sim.workload.readers.reader_interface import ReadOptions, ReadReport, TraceReader
from cluster_sim.workload.sessions.recorded_session import RecordedSession, RecordedTurn
from cluster_sim.workload.traces.time_unit import check_unit
from cluster_sim.workload.traces.trace_rows import TraceWindow

Scale = Callable[[int, int], float]
"""Factor of all gaps, from the number of requests and the span of the sessions' starts in ns."""


def read_sessions(
    path: Path, reader: TraceReader, options: ReadOptions, window: TraceWindow, notices: list[str]
) -> list[RecordedSession]:
    """Return the sessions that start inside the window, in order of their start; the earliest start is time 0.

    ``first`` of the window counts sessions.  Files without times keep their order.
    """
    report = ReadReport()
    sessions = reader.sessions(path, options, report)
    notices.extend(report.notices(path))
    if not sessions:
        raise InputError(f"{path}: {report.all_skipped()}")
    untimed = sum(session.start_ns is None for session in sessions)
    if untimed == len(sessions):
        return sessions[: window.first]
    if untimed:
        first = next(session for session in sessions if session.start_ns is None)
        raise InputError(
            f"{path}: {first.where + ': ' if first.where else ''}the session's first row has no time, as {untimed:,} "
            f"of {len(sessions):,} {by_number(untimed, 'has', 'have')} none; give each a time, or none and "
            "workload.arrivals"
        )
    ordered = sorted(sessions, key=lambda session: session.start_ns or 0)
    if options.strict and any(one is not other for one, other in zip(sessions, ordered, strict=True)):
        raise InputError(f"{path}: sessions are not in order of their start; sort the file, or set strict: false")
    if len(ordered) > 1 and ordered[0].start_ns == ordered[-1].start_ns:
        notices.append(
            f"{path}: all {len(ordered):,} sessions start at once, as times of each count from its own start; "
            "workload.arrivals spreads them"
        )
    shifted = _shifted(ordered, -(ordered[0].start_ns or 0))
    _check_unit(path, reader, options, report, shifted)
    return _inside(path, shifted, window)


def _check_unit(
    path: Path, reader: TraceReader, options: ReadOptions, report: ReadReport, sessions: Sequence[RecordedSession]
) -> None:
    """Refuse times that no run can span, and a unit of time that is in doubt."""
    last_ns = max(session.start_ns or 0 for session in sessions)
    if last_ns > LONGEST_RUN_S * NS_PER_S:
        raise InputError(
            f"{path}: sessions start {last_ns / NS_PER_S:.6g} s apart, beyond the {LONGEST_RUN_S:.0f} s that a run can "
            "span; is the unit of time right? timestamp_unit_s gives another one"
        )
    if reader.unit_s is None or options.timestamp_unit_s is not None or report.has_instants:
        return
    unit_ns = round(reader.unit_s * NS_PER_S)
    has_fractions = any((session.start_ns or 0) % unit_ns for session in sessions)
    check_unit(str(path), reader.unit_s, len(sessions), last_ns / NS_PER_S, has_fractions=has_fractions)


def _inside(path: Path, sessions: Sequence[RecordedSession], window: TraceWindow) -> list[RecordedSession]:
    start_ns = round(window.start_s * NS_PER_S)
    end_ns = math.inf if window.end_s is None else round(window.end_s * NS_PER_S)
    inside = [session for session in sessions if start_ns <= (session.start_ns or 0) < end_ns][: window.first]
    if not inside:
        raise InputError(f"{path}: no session starts in the window from start_s {window.start_s:g} on")
    return _shifted(inside, -start_ns)


def _shifted(sessions: Sequence[RecordedSession], shift_ns: int) -> list[RecordedSession]:
    return [_moved(session, lambda time_ns: time_ns + shift_ns) for session in sessions] if shift_ns else [*sessions]


def _moved(session: RecordedSession, move: Callable[[int], int]) -> RecordedSession:
    """Return a session with its recorded times mapped by ``move``."""
    turns = [
        turn
        if turn.start_ns is None
        else RecordedTurn(
            turn.prompt_tokens,
            turn.output_tokens,
            move(turn.start_ns),
            turn.delay_ns,
            turn.after,
            turn.segments,
            turn.is_whole,
        )
        for turn in session.turns
    ]
    return RecordedSession(None if session.start_ns is None else move(session.start_ns), turns)


def scaled(path: Path, sessions: Sequence[RecordedSession], factor_of: Scale) -> list[RecordedSession]:
    """Return the sessions with all recorded times multiplied; delays stay as they are."""
    starts = [session.start_ns for session in sessions if session.start_ns is not None]
    if len(starts) < len(sessions):
        raise InputError(f"{path}: the file has no arrival times; give workload.arrivals")
    factor = factor_of(sum(len(session.turns) for session in sessions), max(starts) - min(starts))
    if factor == 1.0:
        return [*sessions]
    if max(starts) * factor > LONGEST_RUN_S * NS_PER_S:
        raise InputError(f"{path}: scaled times go beyond the {LONGEST_RUN_S:.0f} s that a run can span")
    return [_moved(session, lambda time_ns: round(time_ns * factor)) for session in sessions]


def started_by(sessions: Sequence[RecordedSession], times: ArrivalTimes) -> list[RecordedSession]:
    """Return the sessions with new starts, as many as there are times; recorded times move along."""
    result: list[RecordedSession] = []
    for block in times():
        for start_ns in block.tolist():
            if len(result) == len(sessions):
                return result
            session = sessions[len(result)]
            shift_ns = start_ns - (session.start_ns or 0)
            result.append(RecordedSession(start_ns, _shifted([session], shift_ns)[0].turns))
    return result
