"""``cluster-sim calibrate``: step times fitted to a benchmark of one's own server."""

import re
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from cluster_sim.errors import InputError


def calibrate(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="Results of vllm bench serve, SGLang's bench_serving, AIPerf, guidellm, inference-perf or llm-d's "
            "report, answers of Prometheus' query_range with a window of vllm:* histograms, or a CSV table with "
            "arrival_s, input_tokens, output_tokens, ttft_s and e2e_s. Several runs, in one file or in several, are "
            "runs of one server. Or the log of a running server: vLLM's own lines of throughput, or a CSV table with "
            "time_s, prompt_throughput, gen_throughput, running and kv_cache_pct.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            "--model",
            help="Model served: a name of conf/models, a Hugging Face id or a config.json.",
            show_default=False,
        ),
    ],
    device: Annotated[str, typer.Option("--device", help="GPU: a name of conf/devices.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="Profile to write (YAML).", show_default=False)],
    tensor_parallel: Annotated[int, typer.Option("--tensor-parallel", min=1, help="GPUs that share a layer.")] = 1,
    engine_kind: Annotated[
        str | None,
        typer.Option("--engine", help="Engine: vllm_v1, sglang ... [default: as the file says, else vllm_v1]"),
    ] = None,
    engine_version: Annotated[str, typer.Option("--engine-version", help="Version of vLLM.")] = "0.15",
    max_num_seqs: Annotated[int | None, typer.Option("--max-num-seqs", min=1, help="As the server had it.")] = None,
    max_num_batched_tokens: Annotated[
        int | None, typer.Option("--max-num-batched-tokens", min=1, help="As the server had it.")
    ] = None,
    max_model_len: Annotated[
        int | None,
        typer.Option("--max-model-len", min=1, help="As the server had it. [default: what the longest request takes]"),
    ] = None,
    num_kv_blocks: Annotated[
        int | None,
        typer.Option("--num-kv-blocks", min=1, help="As the server reports it. [default: what the memory plan says]"),
    ] = None,
    enable_prefix_caching: Annotated[
        bool | None,
        typer.Option(
            "--enable-prefix-caching/--no-enable-prefix-caching",
            help="As the server had it. [default: the engine's own]",
        ),
    ] = None,
    base: Annotated[str, typer.Option("--base", help="Profile to start from: conf/profiles or a file.")] = "vllm",
    coefficient: Annotated[
        list[str] | None,
        typer.Option(
            "--coefficient", help="Coefficient to refit; repeatable. [default: the few that one server determines]"
        ),
    ] = None,
    context_tokens: Annotated[
        float,
        typer.Option(
            "--context-tokens",
            min=0,
            max=1e9,
            help="For a log that lacks the KV cache's usage: mean tokens in the cache per running request, about the "
            "mean prompt and half of the mean output. [default: fitted too]",
            show_default=False,
        ),
    ] = 0.0,
    is_forced: Annotated[
        bool,
        typer.Option(
            "--force", help="Write the profile although a coefficient is beyond the physical, or the error above 30 %."
        ),
    ] = False,
) -> None:
    """Refit the step model to a benchmark and write a profile that studies can name."""
    from cluster_sim.calibration.benchmark import Server
    from cluster_sim.calibration.engine_log import is_engine_log
    from cluster_sim.calibration.log_refit import refit_to_log
    from cluster_sim.calibration.refit import DEFAULT_COEFFICIENTS, refit
    from cluster_sim.conf_directory import SUFFIXES, library_names
    from cluster_sim.output_target import FITTED_PROFILE, check_target
    from cluster_sim.suggestion import suggestion

    known = library_names("devices")
    if device not in known and not device.endswith(SUFFIXES):
        raise InputError(
            f"--device: unknown name {device!r}{suggestion(device, known)}; conf/devices has: {', '.join(known)}"
        )
    if out.suffix != ".yaml":
        raise InputError(f"--out: {out} must end in .yaml")
    if not out.parent.is_dir():
        raise InputError(f"--out: {out.parent} is not a directory")
    check_target(out, FITTED_PROFILE, [*files, model, device, base])
    if not re.fullmatch(r"\d+(\.\d+)+", engine_version):
        raise InputError(
            f"--engine-version: must be numbers separated by dots, for example 0.15; got {engine_version!r}"
        )
    engine = ({"kind": engine_kind} if engine_kind is not None else {}) | {
        "version": engine_version,
        "max_num_seqs": max_num_seqs,
        "max_num_batched_tokens": max_num_batched_tokens,
        "max_model_len": max_model_len,
    }
    if num_kv_blocks is not None:
        engine["num_kv_blocks"] = num_kv_blocks
    if enable_prefix_caching is not None:
        engine["enable_prefix_caching"] = enable_prefix_caching
    server = Server(model, device, tensor_parallel, engine)
    command = shlex.join(["cluster-sim", *sys.argv[1:]])
    if any(is_engine_log(path) for path in files):
        result = refit_to_log(
            files, server, base, coefficient, out, command, context_tokens=context_tokens, is_forced=is_forced
        )
    elif context_tokens:
        raise InputError("--context-tokens: is for a log of throughput; the files are results of benchmarks")
    else:
        names = tuple(coefficient or DEFAULT_COEFFICIENTS)
        result = refit(files, server, base, names, out, command, is_forced=is_forced)
    for line in result:
        typer.echo(line)
