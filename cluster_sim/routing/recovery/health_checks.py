"""Health checks: the times at which a router finds a replica unhealthy, and healthy again.

A probe goes to every replica once a period.  Faults are known before time starts, so the verdicts of a replica are a
pure function of its outages: no probe is an event, only a change of the verdict is.  A probe that finds the replica
down is refused at once; one that finds it hanging, or its link lost, waits for the time-out.
"""

from collections.abc import Iterable, Iterator
from typing import Final, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from cluster_sim.options import LONGEST_RUN_S, ConfigModel
from cluster_sim.serving.lives.intervals import FOREVER_NS, Interval
from cluster_sim.units import NS_PER_S

_MOST_SILENTLY: Final = 256
"""Outages passed over before a verdict is repeated."""


class HealthOptions(ConfigModel):
    """Probes of every replica.

    Source of the defaults: sgl-router 083d6013 (each 60 s, unhealthy after 3 failures, healthy after 2 successes);
    Kubernetes' readiness probes have 10 s, 1 s, 3 and 1.
    """

    period_s: float = Field(60.0, ge=1e-3, le=LONGEST_RUN_S, description="Time between two probes of a replica.")
    timeout_s: float = Field(5.0, ge=1e-3, le=LONGEST_RUN_S, description="Time after which a probe has failed.")
    failure_threshold: int = Field(3, ge=1, le=1000, description="Failed probes in a row that make it unhealthy.")
    success_threshold: int = Field(2, ge=1, le=1000, description="Good probes in a row that make it healthy again.")
    probe: Literal["process", "generation"] = Field(
        "process",
        description="Whether a probe asks the process (an engine that hangs still answers), or for a token.",
    )
    fails_requests: bool = Field(
        False, description="Whether requests at a replica are given up when it is found unhealthy."
    )
    crash_notice_s: float | None = Field(
        None,
        ge=0,
        le=LONGEST_RUN_S,
        description="Time from a crash or a restart until the platform tells the router, as Kubernetes does through "
        "endpoints; null leaves it to the probes.",
    )

    @model_validator(mode="after")
    def _probes_do_not_overlap(self) -> Self:
        if self.timeout_s > self.period_s:
            raise ValueError(f"timeout_s: {self.timeout_s:g} is above period_s: {self.period_s:g}")
        return self

    @property
    def period_ns(self) -> int:
        """The time between two probes in ns."""
        return round(self.period_s * NS_PER_S)

    @property
    def timeout_ns(self) -> int:
        """The time-out of a probe in ns."""
        return round(self.timeout_s * NS_PER_S)


class Outage(NamedTuple):
    """A time in which a replica does not answer as it should."""

    start_ns: int
    end_ns: int
    """FOREVER_NS if it does not end."""
    is_silent: bool
    """Whether it does not answer at all; otherwise connections are refused at once."""


class Verdict(NamedTuple):
    """A change of what the router thinks of a replica."""

    at_ns: int
    is_healthy: bool


def outages_of(down: Iterable[Interval], silent: Iterable[Interval]) -> Iterator[Outage]:
    """Yield the outages of a replica, disjoint and in order, from when it is down and when it is silent.

    Both are sorted and disjoint, and may have no end.  A replica that is down behind a lost link is silent.
    """
    silences = iter(silent)
    silence = next(silences, None)
    silent_until_ns = -1
    for interval in down:
        start_ns, end_ns = interval.start_ns, interval.end_ns
        while silence is not None and silence.start_ns < end_ns:
            start_ns = max(start_ns, silent_until_ns)
            if start_ns < silence.start_ns:
                yield Outage(start_ns, silence.start_ns, is_silent=False)
            yield Outage(silence.start_ns, silence.end_ns, is_silent=True)
            silent_until_ns = silence.end_ns
            silence = next(silences, None)
        start_ns = max(start_ns, silent_until_ns)
        if start_ns < end_ns:
            yield Outage(start_ns, end_ns, is_silent=False)
    while silence is not None:
        yield Outage(silence.start_ns, silence.end_ns, is_silent=True)
        silence = next(silences, None)


def verdicts(
    options: HealthOptions,
    down: Iterable[Interval],
    silent: Iterable[Interval],
    first_probe_ns: int,
    forward_ns: int,
    return_ns: int,
) -> Iterator[Verdict]:
    """Yield the changes of a replica's verdict, in order; it is healthy at first.

    Probes are sent at ``first_probe_ns`` and each period after it.  After many outages that no probe has found the
    verdict is repeated, so that asking for the next one always ends.
    """
    ways = first_probe_ns, forward_ns, return_ns
    if options.crash_notice_s is None:
        return _by_probes(options, outages_of(down, silent), *ways)
    notices = _notices(down, round(options.crash_notice_s * NS_PER_S))
    return _agreed(notices, _by_probes(options, outages_of((), silent), *ways))


def _by_probes(
    options: HealthOptions, outages: Iterator[Outage], first_probe_ns: int, forward_ns: int, return_ns: int
) -> Iterator[Verdict]:
    """Yield the changes that probes find."""
    period_ns = options.period_ns
    is_healthy, failures, successes, probe, silently = True, 0, 0, 0, 0
    following = next(outages, None)
    while True:
        if is_healthy and not failures:
            # Good probes change nothing: go on with the first that may meet an outage.
            if following is None:
                return
            probe = max(probe, -(-(following.start_ns - forward_ns - first_probe_ns) // period_ns))
        sent_ns = first_probe_ns + probe * period_ns
        arrival_ns = sent_ns + forward_ns
        if following is not None and following.end_ns <= arrival_ns:
            following = next(outages, None)
            silently += 1
            if silently == _MOST_SILENTLY:
                silently = 0
                yield Verdict(sent_ns, is_healthy)
            continue
        outage = following if following is not None and following.start_ns <= arrival_ns else None
        known_ns, is_good = _result(options, outage, sent_ns, forward_ns, return_ns)
        failures, successes = (0, successes + 1) if is_good else (failures + 1, 0)
        if is_healthy and failures == options.failure_threshold:
            is_healthy, silently = False, 0
            yield Verdict(known_ns, is_healthy)
        elif not is_healthy and successes == options.success_threshold:
            is_healthy, silently = True, 0
            yield Verdict(known_ns, is_healthy)
        if not is_healthy and outage is not None and outage.end_ns >= FOREVER_NS:
            return
        probe += 1


def _result(
    options: HealthOptions, outage: Outage | None, sent_ns: int, forward_ns: int, return_ns: int
) -> tuple[int, bool]:
    """Return when the router knows the result of a probe, and whether it is good."""
    late_ns = sent_ns + options.timeout_ns
    answer_ns = sent_ns + forward_ns + return_ns
    if outage is None:
        return answer_ns, True
    if not outage.is_silent:
        return min(answer_ns, late_ns), False
    answer_ns = outage.end_ns + return_ns
    return (answer_ns, True) if answer_ns <= late_ns else (late_ns, False)


def _notices(down: Iterable[Interval], notice_ns: int) -> Iterator[Verdict]:
    """Yield what the platform tells of crashes and restarts; a crash shorter than the notice takes is not seen."""
    for interval in down:
        if interval.start_ns + notice_ns < interval.end_ns:
            yield Verdict(interval.start_ns + notice_ns, is_healthy=False)
            if interval.end_ns < FOREVER_NS:
                yield Verdict(interval.end_ns + notice_ns, is_healthy=True)


def _agreed(notices: Iterator[Verdict], probes: Iterator[Verdict]) -> Iterator[Verdict]:
    """Yield the changes of a verdict that is healthy while both sources say so."""
    sources = [notices, probes]
    known = [True, True]
    heads = [next(source, None) for source in sources]
    is_healthy = True
    while True:
        pending = [(head.at_ns, index) for index, head in enumerate(heads) if head is not None]
        if not pending:
            return
        at_ns, index = min(pending)
        head = heads[index]
        assert head is not None
        known[index] = head.is_healthy
        heads[index] = next(sources[index], None)
        if all(known) != is_healthy:
            is_healthy = not is_healthy
            yield Verdict(at_ns, is_healthy)
