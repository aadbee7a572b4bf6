"""Report of a plan on the terminal: the fleets that were simulated, the answer, and how to deploy it."""

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cluster_sim.metrics.whole_run import WholeRunFigure, after_words, hidden_words
from cluster_sim.report.configuration_table import verdict_text
from cluster_sim.report.console import print_whole
from cluster_sim.report.result_tables import duration_text, gpus_text
from cluster_sim.report.scatter import Point, pareto_front, scatter
from cluster_sim.shown_values import by_number, counted

MOST_ROWS: Final = 15
"""Fleets of the table; the file has all."""
MOST_LAYOUTS: Final = 8
"""Layouts that were not simulated and are named with their reason."""

FEW_RUNS: Final = 5
"""Intervals of fewer runs are wide, whatever the fleet: Student's t is 12.7 after two, 2.8 after five."""

Entry = dict[str, Any]


def print_plan(console: Console, plan: Entry, deployment: Sequence[tuple[str, str]], directory: str) -> None:
    """Print a plan that has an answer; ``deployment`` are texts with their titles, ``directory`` holds the files.

    The last line names the GPUs and the price.
    """
    answer = plan["answer"]
    _print(console, load_line(plan))
    print_whole(console, fleets_table(plan))
    more = len(plan["candidates"]) - MOST_ROWS
    if more > 0:
        _print(console, f"... and {more} more in plan.json")
    for line in layout_lines(plan):
        _print(console, line)
    picture = pareto_picture(plan)
    if picture:
        console.print(Text("\n" + picture), soft_wrap=True)
    for title, text in deployment:
        console.print(Text(f"\n{title}:", style="bold"))
        console.print(Text(text), soft_wrap=True)
    console.print(Text("\nAnswer", style="bold"))
    for line in (
        *answer_lines(plan),
        f"{directory}: plan.json, plan.html, winner.yaml (cluster-sim run gives its figures)",
    ):
        _print(console, line)
    console.print(Text(last_line(answer), style="bold"), soft_wrap=True)


def print_shared_plan(
    console: Console,
    plan: Entry,
    deployments: Mapping[str, Sequence[tuple[str, str]]],
    directory: str,
    directories: Mapping[str, str],
) -> None:
    """Print the plans of several models, by their names, and the GPUs and the price of all on the last line.

    ``directories`` are those of the models' own plans.
    """
    for name, one in plan["models"].items():
        console.print(Text(f"\n{name}", style="bold"), soft_wrap=True)
        print_plan(console, one, deployments[name], directories[name])
    verdict = plan["whole_fleet"]["verdict"].replace("_", " ")
    _print(console, f"\nAll models together, in one run of the whole load: limits {verdict}")
    _print(console, f"{directory}: plan.json, winner.yaml (the study of the whole fleet)")
    console.print(Text(shared_line(plan), style="bold"), soft_wrap=True)


def shared_line(plan: Entry) -> str:
    """Return the GPUs and the price of all models."""
    answer = plan["answer"]
    return f"{counted(answer['gpus'], 'GPU')} at {_usd(answer)}: {answer['fleet']}"


def load_line(plan: Entry) -> str:
    """Return the load and the limits in one line."""
    load = plan["load"]
    rate = load["requests_per_s"]
    words = f"{counted(load['requests'], 'request')} of {load['mean_prompt_tokens']:,.0f} prompt and "
    words += f"{load['mean_output_tokens']:,.0f} output tokens on average"
    if load["users"] is not None:
        words = f"{counted(load['users'], 'user')}: {words}"
    elif load["sessions"] is not None:
        rate = load["sessions_per_s"]
        words = f"{counted(load['sessions'], 'session')}{'' if rate is None else f', {rate:,.2f} a second'}: {words}"
    elif load["waits_for_fleet"]:
        words += f", at most {rate:,.2f} a second, as they wait for earlier ones"
    else:
        words += f", {rate:,.2f} a second (busiest {load['peak_requests_per_s']:,.2f})"
    limits = ", ".join(f"{limit_title(name)} at most {duration_text(limit)}" for name, limit in plan["limits"].items())
    return f"{words}; {limits or 'limits of classes'}"


def fleets_table(plan: Entry) -> Table:
    """Return the fleets that were simulated: those that meet the limits, then the others, each by the objective."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("fleet", no_wrap=True)
    names = [name for name in plan["limits"] if any(limit_of(one, name) for one in plan["candidates"])]
    for title in ("GPUs", "USD/h"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("limits", no_wrap=True)
    for title in (*map(limit_title, names), "tokens/s/GPU", "tokens/s/user", "USD/M tokens out", "J/token out", "runs"):
        table.add_column(title, justify="right", no_wrap=True)
    order = ("met", "too_close", "missed")
    ordered = sorted(plan["candidates"], key=lambda one: order.index(one["verdict"]))
    for one in ordered[:MOST_ROWS]:
        table.add_row(
            one["fleet"],
            gpus_cell(one),
            f"{one['usd_per_hour']:,.2f}",
            verdict_text(one["verdict"]),
            *(figure_text(limit_of(one, name)) for name in names),
            _number(one["output_tokens_per_s_per_gpu"], ",.0f"),
            _number(one["output_tokens_per_s_per_user"], ",.1f"),
            _number(one["usd_per_million_output_tokens"], ",.2f"),
            _number(one["j_per_output_token"], ",.2f"),
            str(one["runs"]),
        )
    return table


def figure_text(figure: Entry | None) -> str:
    """Return a limited figure with its interval."""
    if figure is None:
        return "-"
    if figure["value_s"] is None:
        return "lost" if figure["verdict"] == "missed" else "-"
    low, high = figure["low_s"], figure["high_s"]
    span = (
        "" if low is None or low == high else f" ({duration_text(low)}-{'' if high is None else duration_text(high)})"
    )
    return f"{duration_text(figure['value_s'])}{span}"


def layout_lines(plan: Entry) -> Iterator[str]:
    """Yield the layouts that were not simulated, those that arithmetic ruled out first."""
    order = ("not_reached", "screened", "beyond_constraints", "out_of_reach", "does_not_fit")
    words = {"screened": "screened out", "does_not_fit": "does not fit"}
    left_out = sorted(
        (one for one in plan["layouts"] if one["state"] in order),
        key=lambda one: (order.index(one["state"]), one["estimated_usd_per_hour"] or 0.0),
    )
    if left_out:
        yield ""
        yield f"Not simulated: {counted(len(left_out), 'layout')}"
    for one in left_out[:MOST_LAYOUTS]:
        state = words.get(one["state"], one["state"].replace("_", " "))
        price = one["estimated_usd_per_hour"]
        yield f"  {one['layout']}: {state}{'' if price is None else f', about {price:,.2f} USD/h'}: {one['reason']}"
    if len(left_out) > MOST_LAYOUTS:
        yield f"  ... and {len(left_out) - MOST_LAYOUTS} more in plan.json"


def pareto_picture(plan: Entry) -> str:
    """Return the picture of tokens per second for a user and for a GPU; empty with fewer than two fleets."""
    marks = {"met": "o", "too_close": "~", "missed": "x"}
    points = [
        Point(one["output_tokens_per_s_per_user"], one["output_tokens_per_s_per_gpu"], marks[one["verdict"]])
        for one in plan["candidates"]
        if one["output_tokens_per_s_per_user"] and one["output_tokens_per_s_per_gpu"]
    ]
    if len(points) < 2:
        return ""
    front = [point._replace(mark="*") for point in pareto_front([point for point in points if point.mark == "o"])]
    title = "tokens/s/GPU   * front of the fleets that meet the limits, o meets, ~ too close, x misses"
    return scatter([*points, *front], "tokens/s/user", title)


def answer_lines(plan: Entry) -> Iterator[str]:
    """Yield what the plan says, but for the last line."""
    answer = plan["answer"]
    yield f"Best: {_described(answer)}"
    yield (
        f"  {_number(answer['output_tokens_per_s_per_gpu'], ',.0f')} tokens/s/GPU, "
        f"{_number(answer['output_tokens_per_s_per_user'], ',.1f')} tokens/s/user, "
        f"{_number(answer['usd_per_million_output_tokens'], ',.2f')} USD per million output tokens, "
        f"{_number(answer['mean_power_w'], ',.0f')} W, {_number(answer['j_per_output_token'], ',.2f')} J per token"
    )
    yield from whole_run_lines(answer)
    if not answer["has_error_band"]:
        yield "  Nothing comparable was measured: the predictor's error is unknown, and the intervals are chance alone."
    if answer["runs"] < FEW_RUNS:
        yield (
            f"  Intervals after {counted(answer['runs'], 'run')} are wide, as so few say little of chance; a larger "
            "plan.replications narrows them."
        )
    if answer["nodes_per_replica"] > 1:
        yield f"  Each replica spans {answer['nodes_per_replica']} nodes, whose GPUs reach each other by the network."
    if plan["runner_up"] is not None:
        yield f"Runner-up: {_described(plan['runner_up'])}"
    other = plan["other_scaling"]
    if other is not None:
        words = "Without the autoscaler" if answer["max_replicas"] is not None else "With the autoscaler"
        reason = "" if other["verdict"] == "met" else f", {other['verdict'].replace('_', ' ')}"
        yield f"{words}: {_described(other)}{reason}"
    smaller, close = plan["one_replica_fewer"], plan["too_close"]
    if smaller is not None:
        verb = "is too close to call" if smaller["verdict"] == "too_close" else "fails"
        yield f"One replica fewer {verb}: {smaller['fleet']}, {smaller['usd_per_hour']:,.2f} USD/h: {smaller['reason']}"
    if close is not None and (smaller is None or close["fleet"] != smaller["fleet"]):
        yield f"Cheaper, but too close to call: {close['fleet']}, {close['usd_per_hour']:,.2f} USD/h: {close['reason']}"
    apart = plan["disaggregated"]
    if apart is not None:
        yield (
            f"Cheaper with prefill apart: {_described(apart)}; it needs fast links between replicas, and "
            "plan.disaggregation: true lets it be the answer"
        )
    for other in plan["other_loads"]:
        fleet = other["fleet"]
        found = other["remark"] if fleet is None else f"{fleet['fleet']}, {_gpus(fleet)}, {_usd(fleet)} (one run)"
        yield f"With {other['load']}: {found}"
    if not plan["is_complete"]:
        yield "The time limit ended the search: a cheaper fleet is not ruled out. The same command goes on from here."


def whole_run_lines(one: Entry) -> Iterator[str]:
    """Yield the limits that a fleet meets only in the measured part of its runs, in one line."""
    misses = [
        WholeRunFigure(miss["name"], miss["limit_s"], inf if miss["value_s"] is None else miss["value_s"])
        for miss in one["whole_run_misses"]
    ]
    if misses:
        yield f"  {hidden_words(misses, after_words(one['warm_up_s']))}."


def last_line(answer: Entry) -> str:
    """Return the GPUs and the price."""
    gpus = f"{answer['gpus']} x {answer['device']} {by_number(answer['gpus'], 'GPU', 'GPUs')}"
    if answer["max_replicas"] is not None:
        gpus = f"{answer['mean_gpus']:,.1f} x {answer['device']} GPUs on average ({answer['most_gpus']:,} at most)"
    return f"{gpus} at {_usd(answer)}: {answer['fleet']}"


def _described(one: Entry) -> str:
    figures = ", ".join(f"{limit_title(limit['name'])} {figure_text(limit)}" for limit in one["limits"])
    return f"{one['fleet']}, {_gpus(one)}, {_usd(one)}: {figures}, {counted(one['runs'], 'run')}"


def _gpus(one: Entry) -> str:
    return gpus_text(one) if one["max_replicas"] is not None else counted(one["gpus"], "GPU")


def gpus_cell(one: Entry) -> str:
    """Return the GPUs of a fleet for a table; of an autoscaled one, "8.3 (most 12)"."""
    if one["max_replicas"] is None:
        return f"{one['gpus']:,}"
    return f"{one['mean_gpus']:,.1f} (most {one['most_gpus']:,})"


def _usd(one: Entry) -> str:
    return f"{one['usd_per_hour']:,.2f} USD an hour"


def limit_of(one: Entry, name: str) -> Entry | None:
    """Return a limited figure of a fleet by the limit's name."""
    return next((limit for limit in one["limits"] if limit["name"] == name), None)


def limit_title(limit: str) -> str:
    """Return a limit's name as a title, for example ``TTFT p99``."""
    owner, _, name = limit.rpartition(": ")
    metric, percentile, _ = name.split("_")
    return f"{owner} {metric.upper()} {percentile}".strip()


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _print(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)
