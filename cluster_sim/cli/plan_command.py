"""``cluster-sim plan``: the best fleet for a load within limits."""

import re
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

import typer

from cluster_sim.cli.arguments import AllowUnknown, Overrides, with_allowance
from cluster_sim.cli.durations import seconds_of
from cluster_sim.errors import InputError, UnfinishedError

if TYPE_CHECKING:
    from cluster_sim.config.schema.fleet import Pool
    from cluster_sim.config.schema.study import Study
    from cluster_sim.document import Document
    from cluster_sim.routing.scaling.scaler_interface import AutoscalerOptions
    from cluster_sim.study.planning.several_models import SharedPlan

MOST_RATE_SCALE: Final = 10_000.0
"""More than any fleet grows by; a typing error beyond it would simulate an overload that never ends."""
LEAST_REQUESTS: Final = 3000
"""Requests of users that --users describes: enough for a 99th percentile."""
REQUESTS_OF_USER: Final = 10
"""The same for each of them, at least."""
LEAST_RAMP_S: Final = 60.0
"""Time over which these users start, at least, so that their first requests do not come at once."""
_MOST_OF_MODEL: Final = 80
"""Characters of a model's file that name the plan, as names of studies have at most 100."""


def plan(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]", help="Study file with the load and a pool for each model; or --model, --trace and --slo."
        ),
    ] = None,
    overrides: Overrides = None,
    model: Annotated[
        str | None, typer.Option(help="Model to serve: a name of conf/models, or a config.json.", show_default=False)
    ] = None,
    trace: Annotated[
        str | None, typer.Option(metavar="FILE", help="Trace of requests; its format is found by itself.")
    ] = None,
    rate_scale: Annotated[
        float | None, typer.Option(metavar="FACTOR", help="So many times the load's rate, or its number of users.")
    ] = None,
    users: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="So many users who send, wait for the answer and think; lengths are the trace's."
        ),
    ] = None,
    think_time: Annotated[
        str | None, typer.Option(metavar="TIME", help="Mean time that they think, for example 10s. [default: 0s]")
    ] = None,
    slo: Annotated[
        list[str] | None,
        typer.Option(metavar="LIMIT", help="Limit on a latency, for example ttft_p99=2s or tpot_p99=60ms; repeatable."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(metavar="NAMES", help="GPUs to choose from, by commas. [default: the whole library]")
    ] = None,
    max_gpus: Annotated[int | None, typer.Option(min=1, metavar="N", help="Most GPUs of the fleet.")] = None,
    max_usd_per_hour: Annotated[
        float | None, typer.Option(metavar="USD", help="Highest price of the fleet, USD an hour.")
    ] = None,
    time_limit: Annotated[
        str | None, typer.Option(metavar="TIME", help="Start no run after so long, for example 300s. [default: 240s]")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Ray cluster whose nodes make the runs; without it, processes of this machine.")
    ] = None,
    allow_unknown: AllowUnknown = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print plan.json in place of the tables.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Directory of the results; a plan there goes on. [default: plans/<name>-<hash>]"
        ),
    ] = None,
) -> None:
    """Find the cheapest fleet that serves a load within limits."""
    from cluster_sim.report.heartbeat import Heartbeat

    with _NamingDirectory(out) as kept, Heartbeat(_tell) as heartbeat:
        import json

        from cluster_sim.conf_directory import library_names
        from cluster_sim.config.loading.error_context import locating_errors
        from cluster_sim.config.loading.load import check_study, read_document
        from cluster_sim.config.loading.overrides import apply_overrides
        from cluster_sim.report.console import make_console
        from cluster_sim.report.plan_page import PLAN_PAGE, plan_page
        from cluster_sim.report.plan_report import print_plan
        from cluster_sim.simulation.launcher import ray_pool
        from cluster_sim.study.planning.plan_run import default_directory, run_plan
        from cluster_sim.study.planning.several_models import has_several_models, run_shared_plan

        if file is None:
            document = _document(model, trace)
            _set_users(document, trace, users, think_time)
            apply_overrides(document, with_allowance(overrides, allow_unknown))
        else:
            document = read_document(file, with_allowance(overrides, allow_unknown))
            _set(document, ("fleet", "pools", 0, "model"), model, f"--model {model}")
            if trace is not None:
                _set(document, ("workload",), {"kind": "trace", "path": trace}, f"--trace {trace}")
                document.places["workload", "path"] = f"--trace {trace}"
            _set_users(document, trace, users, think_time)
        for text in slo or ():
            key, limit_s = _limit(text)
            _set_once(document, ("slo", key), limit_s, f"--slo {text}")
        devices = None if device is None else [name.strip() for name in device.split(",")]
        _set(document, ("plan", "devices"), devices, f"--device {device}")
        if devices and file is None and devices[0] in library_names("devices"):  # An unknown one is refused once.
            document.data["fleet"]["pools"][0]["device"] = devices[0]
        _set(document, ("plan", "max_gpus"), max_gpus, f"--max-gpus {max_gpus}")
        _set(document, ("plan", "max_usd_per_hour"), max_usd_per_hour, f"--max-usd-per-hour {max_usd_per_hour}")
        limit = None if time_limit is None else seconds_of(time_limit, f"--time-limit {time_limit}", needs_unit=False)
        _set(document, ("plan", "time_limit_s"), limit, f"--time-limit {time_limit}")
        document.data.setdefault("plan", {})

        with locating_errors(document):
            folder = Path.cwd() if file is None else file.resolve().parent
            study = _scaled(check_study(document, folder), rate_scale)
            kept.directory = out or default_directory(study)
            options: Any = {"has_scaled_load": rate_scale is not None, "tell": heartbeat.tell, "watch": heartbeat.watch}
            options["pool"] = None if address is None else ray_pool(address)
            if has_several_models(study):
                shared = run_shared_plan(study, kept.directory, **options)
                _print_shared(shared, as_json=as_json)
                return
            outcome = run_plan(study, kept.directory, **options)
        deployment = _deployment(outcome.winner(), outcome.winner_study().autoscaler)
        (outcome.directory / PLAN_PAGE).write_text(plan_page(outcome.document, deployment), encoding="utf-8")
        if as_json:
            typer.echo(json.dumps(outcome.document, indent=1))
            return
        print_plan(make_console(), outcome.document, deployment, str(outcome.directory))


class _NamingDirectory:
    """The directory of a plan, as far as it is known; a context manager that names it where the plan is interrupted."""

    def __init__(self, directory: Path | None) -> None:
        self.directory = directory

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or not issubclass(kind, KeyboardInterrupt):
            return
        if self.directory is None or not self.directory.exists():
            where = "" if self.directory is None else f" in {self.directory}"
            raise UnfinishedError(
                f"interrupted before anything was simulated; the same command begins again{where}"
            ) from None
        raise UnfinishedError(
            f"interrupted; every run that ended is kept in {self.directory}, and the same command goes on from there"
        ) from None


def _tell(text: str) -> None:
    typer.echo(text, err=True)


def _print_shared(shared: "SharedPlan", *, as_json: bool) -> None:
    """Write the page of each model's plan, and print all plans."""
    import json

    from cluster_sim.report.console import make_console
    from cluster_sim.report.plan_page import PLAN_PAGE, plan_page
    from cluster_sim.report.plan_report import print_shared_plan

    deployments = {name: _deployment(plan.winner()) for name, plan in shared.plans.items()}
    for name, plan in shared.plans.items():
        (plan.directory / PLAN_PAGE).write_text(plan_page(plan.document, deployments[name]), encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(shared.document, indent=1))
        return
    directories = {name: str(plan.directory) for name, plan in shared.plans.items()}
    print_shared_plan(make_console(), shared.document, deployments, str(shared.directory), directories)


def _deployment(pools: "list[Pool]", autoscaler: "AutoscalerOptions | None" = None) -> list[tuple[str, str]]:
    """Return texts that deploy a fleet, each with its title; none for an engine that has none."""
    from cluster_sim.deployment.llm_d_values import llm_d_autoscalers, llm_d_values
    from cluster_sim.deployment.vllm_command import serve_command

    try:
        texts = [(f"Each {pool.role + ' ' if pool.role else ''}replica", serve_command(pool)) for pool in pools]
        texts.append(("Values of llm-d's chart (Kubernetes)", llm_d_values(pools, autoscaler).rstrip()))
        manifests = llm_d_autoscalers(pools, autoscaler).rstrip()
    except ValueError as error:
        return [("Deployment", f"not printed: {error}")]
    return [*texts, *([("Autoscaler beside the chart (kubectl apply)", manifests)] if manifests else [])]


def _document(model: str | None, trace: str | None) -> "Document":
    """Return the study that the options describe."""
    from cluster_sim.document import Document

    missing = [name for name, value in (("--model", model), ("--trace", trace)) if value is None]
    if missing:
        raise InputError(
            f"{' and '.join(missing)}: needed without a study file; for example cluster-sim plan --model llama-3.1-70b "
            "--trace FILE --slo ttft_p99=2s --slo tpot_p99=60ms"
        )
    assert model is not None
    path = Path(model)
    is_file = path.suffix in (".yaml", ".yml", ".json")
    stem = path.parent.name if path.name == "config.json" else path.stem if is_file else path.name
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-._") or "model"
    data: dict[str, Any] = {
        "name": f"plan-{name[:_MOST_OF_MODEL]}",
        "workload": {"kind": "trace", "path": trace},
        "fleet": {"pools": [{"name": "main", "model": model, "device": "h100-sxm"}]},
    }
    places: dict[tuple[str | int, ...], str] = {
        ("workload", "path"): f"--trace {trace}",
        ("fleet", "pools", 0, "model"): f"--model {model}",
    }
    return Document("plan", data, places)


def _set_users(document: "Document", trace: str | None, users: int | None, think_time: str | None) -> None:
    """Let users send the requests of a trace, or change the number of the study's users."""
    if think_time is not None and (users is None or trace is None):
        raise InputError(f"--think-time {think_time}: belongs to --users with --trace; a study file has think_time_s")
    if users is None:
        return
    source = f"--users {users}"
    if trace is None:
        _set(document, ("workload", "users"), users, source)
        return
    think_s = 0.0 if think_time is None else seconds_of(think_time, f"--think-time {think_time}")
    document.data["workload"] = {
        "kind": "closed_loop",
        "users": users,
        "count": max(LEAST_REQUESTS, REQUESTS_OF_USER * users),
        "ramp_s": max(LEAST_RAMP_S, think_s),
        "lengths": {"kind": "empirical", "path": trace},
        "think_time_s": {"kind": "exponential", "mean": think_s} if think_s else {"kind": "fixed", "value": 0},
    }
    document.places["workload", "lengths", "path"] = f"--trace {trace}"
    document.places["workload", "users"] = source


def _set(document: "Document", path: tuple[str | int, ...], value: Any, source: str) -> None:
    """Set a value that an option gives; ``source`` names the option in messages."""
    if value is None:
        return
    place: Any = document.data
    for part, following in pairwise(path):
        if isinstance(place, dict) and place.get(part) is None:
            place[part] = [] if isinstance(following, int) else {}
        place = place[part]
    place[path[-1]] = value
    document.places[path] = source


def _set_once(document: "Document", path: tuple[str | int, ...], value: Any, source: str) -> None:
    """Set a value as ``_set`` does; raise InputError if another option has set it to something else."""
    earlier = document.places.get(path, "")
    if earlier.startswith("--slo ") and document.data["slo"][path[-1]] != value:
        raise InputError(f"{source}: contradicts {earlier}; give one of them")
    _set(document, path, value, source)


def _limit(text: str) -> tuple[str, float]:
    """Return the key of the slo block and the seconds of ``ttft_p99=2s``."""
    from cluster_sim.metrics.objectives import Slo
    from cluster_sim.suggestion import suggestion

    name, separator, value = text.partition("=")
    source = f"--slo {text}"
    known = [key.removesuffix("_s") for key in Slo.model_fields if key.endswith("_s")]
    if not separator:
        raise InputError(f"{source}: must look like NAME=TIME, for example ttft_p99=2s")
    name = name.strip().lower().removesuffix("_s")
    if name not in known:
        raise InputError(f"{source}: no limit is called {name!r}{suggestion(name, known)}; known: {', '.join(known)}")
    return f"{name}_s", seconds_of(value, source)


def _scaled(study: "Study", factor: float | None) -> "Study":
    """Return the study with so many times its load."""
    from cluster_sim.study.planning.other_loads import with_more_load

    if factor is None:
        return study
    if not 0 < factor <= MOST_RATE_SCALE:
        raise InputError(f"--rate-scale {factor:g}: must be a positive number, at most {MOST_RATE_SCALE:,.0f}")
    return with_more_load(study, factor)
