"""aiconfigurator's measurements with prefill and decode apart: TensorRT-LLM, SGLang and vLLM at fixed concurrency.

Design: the client keeps N requests in flight, which alternate between two stations.  W prefill ranks compute a prompt
of p tokens each in S; the decode ranks share R requests, one step of which takes T(R) and yields a token of each, so n
tokens last n T(R).  By the asymptotic bounds of such a closed network (Denning and Buzen 1978),

    X = min(W / S, N / (S + n T(R))),    R = X n T(R),

and by Little's law TTFT = N / X - (n - 1) T(R).  R is found by iteration.  Prompts disturb no decode, so T has none.
The transfer of the cache, some ms, is left out, and nothing is fitted.
"""

from pathlib import Path
from typing import Final, NamedTuple

from cluster_sim.calibration.tables import read_rows
from cluster_sim.errors import InputError
from cluster_sim.hardware.batch_shape import BatchShape
from cluster_sim.units import NS_PER_S
from validation.scoring import Skipped
from validation.silicon import COLUMNS, DATASET, Point, Server, SteadyState

STATIONS: Final = ("prefill", "decode")
OF_STATION: Final = ("num_workers", "tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
MORE_COLUMNS: Final = (*COLUMNS, *(f"{name}_{column}" for name in STATIONS for column in OF_STATION))
STEPS: Final = 60
"""Iterations, each of which goes half the way."""


class Answer(NamedTuple):
    """What the closed form says."""

    ttft_s: float
    tpot_s: float


def pair_steady_state(
    prefill: Server, decode: Server, ranks: tuple[int, int], concurrency: int, prompt_tokens: int, output_tokens: int
) -> Answer:
    """Return the closed form of the module's text; ``ranks`` are those of all prefill and all decode workers."""
    prompt = BatchShape(prefills=[(prompt_tokens, 0)], completed_prefills=1)
    prompt_s = prefill.predictor.step_ns(prompt) / NS_PER_S
    cached_tokens = prompt_tokens + output_tokens / 2
    most = decode.cached_tokens / cached_tokens if decode.cached_tokens else float(concurrency)

    def step_s(decoding: float) -> float:
        each = max(1, round(min(decoding / ranks[1], most)))
        shape = BatchShape(decodes=each, decode_kv_tokens=round(each * cached_tokens))
        return decode.predictor.step_ns(shape) / NS_PER_S

    decoding = float(concurrency)
    for _ in range(STEPS):
        output_s = output_tokens * step_s(decoding)
        rate = min(ranks[0] / prompt_s, concurrency / (prompt_s + output_s))
        decoding = (decoding + rate * output_s) / 2
    tpot_s = step_s(decoding)
    rate = min(ranks[0] / prompt_s, concurrency / (prompt_s + output_tokens * tpot_s))
    return Answer(max(prompt_s, concurrency / rate - (output_tokens - 1) * tpot_s), tpot_s)


def station_row(row: dict[str, str], station: str) -> dict[str, str]:
    """Return the row of one station's workers as if they stood alone."""
    return row | {column: row[f"{station}_{column}"] for column in OF_STATION}


def score_disaggregated(folder: Path, calibration: str) -> tuple[list[Point], list[Point], list[Skipped]]:
    """Return TTFT and TPOT of every row whose fields are complete and that the libraries can express, and the others
    with reasons.
    """
    ttft: list[Point] = []
    tpot: list[Point] = []
    skipped: list[Skipped] = []
    steady = SteadyState(calibration)
    for row in read_rows(folder / "measured.csv.gz", MORE_COLUMNS):
        if row["mode"] == "agg":
            continue
        if not all(row[f"{station}_num_workers"] for station in STATIONS) or not row["concurrency"]:
            skipped.append(Skipped(DATASET, row["id"], "number of workers or concurrency not given"))
            continue
        try:
            servers = [steady.server(station_row(row, station)) for station in STATIONS]
        except (InputError, ValueError) as error:
            skipped.append(Skipped(DATASET, row["id"], str(error).split(";", maxsplit=1)[0]))
            continue
        workers = [int(float(row[f"{station}_num_workers"])) for station in STATIONS]
        ranks = [count * degrees.ranks for count, (_, degrees) in zip(workers, servers, strict=True)]
        answer = pair_steady_state(
            servers[0][0],
            servers[1][0],
            (ranks[0], ranks[1]),
            round(float(row["concurrency"])),
            int(float(row["isl"])),
            int(float(row["osl"])),
        )
        gpus = sum(count * degrees.ranks * degrees.tensor for count, (_, degrees) in zip(workers, servers, strict=True))
        group = (servers[1][0].model, row["system"], gpus, row["backend"])
        ttft.append(Point(row["id"], group, float(row["silicon_ttft_ms"]) / 1e3, answer.ttft_s))
        tpot.append(Point(row["id"], group, float(row["silicon_tpot_ms"]) / 1e3, answer.tpot_s))
    return ttft, tpot, skipped
