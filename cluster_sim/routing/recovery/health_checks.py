"""Health checks: the times at which a router finds a replica unhealthy, and healthy again.

A probe goes to every replica once a period.  Faults are known before time starts, so the verdicts of a replica are a
pure function of its outages: no probe is an event, only a change of the verdict is.  A probe that finds the replica
down is refused at once; one that finds it hanging, or its link lost, waits for the time-out.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, Self

from pydantic import Field, model_validator

from cluster_sim.engine.instant import NEVER
from cluster_sim.options import LONGEST_RUN_S, ConfigModel
from cluster_sim.units import NS_PER_S


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
    """NEVER if it does not end."""
    is_silent: bool
    """Whether it does not answer at all; otherwise connections are refused at once."""


class Verdict(NamedTuple):
    """A change of what the router thinks of a replica."""

    at_ns: int
    is_healthy: bool


def verdicts(
    options: HealthOptions, outages: Sequence[Outage], first_probe_ns: int, forward_ns: int, return_ns: int
) -> Iterator[Verdict]:
    """Yield the changes of a replica's verdict, in order; it is healthy at first.

    ``outages`` are disjoint and in order.  Probes are sent at ``first_probe_ns`` and each period after it.
    """
    if options.crash_notice_s is not None:
        notice_ns = round(options.crash_notice_s * NS_PER_S)
        yield from _with_notices(options, outages, first_probe_ns, forward_ns, return_ns, notice_ns)
        return
    yield from _by_probes(options, outages, first_probe_ns, forward_ns, return_ns)


def _by_probes(
    options: HealthOptions, outages: Sequence[Outage], first_probe_ns: int, forward_ns: int, return_ns: int
) -> Iterator[Verdict]:
    period_ns = options.period_ns
    is_healthy, failures, successes, probe, index = True, 0, 0, 0, 0
    while True:
        if is_healthy and not failures:
            # Good probes change nothing: go on with the first that may meet an outage.
            if index == len(outages):
                return
            probe = max(probe, -(-(outages[index].start_ns - forward_ns - first_probe_ns) // period_ns))
        sent_ns = first_probe_ns + probe * period_ns
        arrival_ns = sent_ns + forward_ns
        if index < len(outages) and outages[index].end_ns <= arrival_ns:
            index += 1
            continue
        outage = outages[index] if index < len(outages) and outages[index].start_ns <= arrival_ns else None
        known_ns, is_good = _result(options, outage, sent_ns, forward_ns, return_ns)
        failures, successes = (0, successes + 1) if is_good else (failures + 1, 0)
        if is_healthy and failures == options.failure_threshold:
            is_healthy = False
            yield Verdict(known_ns, is_healthy)
        elif not is_healthy and successes == options.success_threshold:
            is_healthy = True
            yield Verdict(known_ns, is_healthy)
        if not is_healthy and outage is not None and outage.end_ns >= NEVER:
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


def _with_notices(
    options: HealthOptions,
    outages: Sequence[Outage],
    first_probe_ns: int,
    forward_ns: int,
    return_ns: int,
    notice_ns: int,
) -> Iterator[Verdict]:
    """Yield changes where the platform tells of crashes and restarts, and probes find only what is silent."""
    silent = [outage for outage in outages if outage.is_silent]
    by_probes = _by_probes(options, silent, first_probe_ns, forward_ns, return_ns)
    changes = [(verdict.at_ns, 1, verdict.is_healthy) for verdict in by_probes]
    for outage in outages:
        if not outage.is_silent and outage.start_ns + notice_ns < outage.end_ns:
            changes.append((outage.start_ns + notice_ns, 0, False))
            if outage.end_ns < NEVER:
                changes.append((outage.end_ns + notice_ns, 0, True))
    is_healthy, known = True, {0: True, 1: True}
    for at_ns, source, verdict_is_healthy in sorted(changes):
        known[source] = verdict_is_healthy
        if all(known.values()) != is_healthy:
            is_healthy = not is_healthy
            yield Verdict(at_ns, is_healthy)
