"""Drawing of a workload's summary as text with bars."""

from collections.abc import Iterator
from typing import Final

from cluster_sim.shown_values import by_number, counted
from cluster_sim.workload.analysis.summary import LengthStatistics, WorkloadSummary

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_BAR: Final = 40


def spark(values: list[float]) -> str:
    """Return values as a line of block characters, the greatest filling its cell."""
    most = max(values, default=0.0)
    if most <= 0:
        return _BLOCKS[0] * len(values)
    return "".join(_BLOCKS[round(value / most * (len(_BLOCKS) - 1))] for value in values)


def _figure(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:,.{digits}g}" if abs(value) < 1000 else f"{value:,.0f}"


def _lengths(name: str, lengths: LengthStatistics) -> Iterator[str]:
    quantiles = "  ".join(f"p{share * 100:g} {lengths.quantile(share):,.0f}" for share in (0.5, 0.9, 0.99))
    ends = f"min {lengths.least:,}  {quantiles}  max {lengths.most:,}"
    yield f"{name}: mean {lengths.mean:,.1f}  std {lengths.std:,.1f}  {ends}"
    rows = lengths.histogram()
    most = max(count for _, _, count in rows)
    for low, high, count in rows:
        yield f"  {low:>9,.0f} - {high - 1:>9,.0f}  {'█' * round(count / most * _BAR):<{_BAR}} {count:,}"


def draw_summary(summary: WorkloadSummary) -> Iterator[str]:
    """Yield the lines of a description: rate over time, lengths, burstiness, prefix sharing, sessions."""
    yield (
        f"requests: {summary.requests:,} over {summary.duration_s:,.1f} s, {_figure(summary.request_rate)} per second"
    )
    rates = [rate for _, rate in summary.rate.series(summary.last_ns, 60)]
    if summary.duration_s and rates:
        yield f"rate over time, {_figure(min(rates))} to {_figure(max(rates))} per second:"
        yield f"  |{spark(rates)}|"
    yield (
        f"burstiness: CV of gaps {_figure(summary.gap_cv)} (Poisson 1); variance / mean of counts "
        + ", ".join(
            f"{_figure(summary.rate.dispersion(summary.last_ns, width))} in {width:g} s" for width in (1.0, 10.0, 60.0)
        )
    )
    yield from _lengths("prompt tokens", summary.prompt)
    yield from _lengths("output tokens", summary.output)
    yield f"correlation of prompt and output: {_figure(summary.correlation)}"
    if summary.requests_with_prefix:
        share = summary.shared_prompt_tokens / summary.prompt.total
        yield (
            f"prefix sharing: {counted(summary.requests_with_prefix, 'request')} "
            f"{by_number(summary.requests_with_prefix, 'says', 'say')} what their prompt holds; a cache without "
            f"limit would find {share:.1%} of all prompt tokens"
        )
    else:
        yield "prefix sharing: nothing is known of the prompts' content"
    if summary.session_turns:
        sessions = len(summary.session_turns)
        turns = sum(summary.session_turns.values())
        most = max(summary.session_turns.values())
        yield f"sessions: {sessions:,}, {turns / sessions:.2f} turns each, at most {most}"
    else:
        yield "sessions: none"
    if summary.tenants:
        named = ", ".join(f"{name} {count:,}" for name, count in summary.tenants.most_common(5))
        yield f"tenants: {len(summary.tenants)} ({named}{', ...' if len(summary.tenants) > 5 else ''})"
    if summary.reasoning_tokens:
        yield f"reasoning: {summary.reasoning_tokens / summary.output.total:.1%} of the output tokens"
    if summary.encoder_tokens:
        yield f"media: {counted(summary.encoder_tokens, 'encoder token')}"
