"""The smallest loop that computes one replica's times with no features: the limit that ``bench.py`` reports beside.

Run ``python scripts/bare_loop.py TRACE`` with an Azure CSV.  Requests go to 8 replicas in turn; each replica gives a
budget of tokens to its running requests and then to waiting ones, steps cost ``A + B * tokens + C * cached tokens``,
and decode steps between two changes of the batch are one arithmetic series.  There is no memory, no pipeline, no second
batch in flight, no router that looks at anything, no protocol, no output: only when each request gets its last token.
"""

import json
import sys
import time
from collections import deque
from heapq import heappop, heappush
from pathlib import Path

from cluster_sim.options import BASE_DIRECTORY
from cluster_sim.workload.build import build_source
from cluster_sim.workload.kinds.trace import TraceWorkload
from cluster_sim.workload.source import RequestSource

REPLICAS = 8
BUDGET = 8192
A_NS, B_NS, C_NS = 6_000_000, 15_000, 40
"""Of the order of Llama-3-8B on an H100."""

Arrival = tuple[int, int, int]
"""(ns, prompt tokens, output tokens)"""


def serve(arrivals: list[Arrival]) -> tuple[int, int]:
    """Serve one replica's requests; return (iterations, sum of the latencies in ns)."""
    now = iterations = step = latency = cached = 0
    heap: list[tuple[int, int, int]] = []  # (step of the last token, tokens cached by then, arrival) per request.
    waiting: deque[Arrival] = deque()
    left = 0  # Prompt tokens of the request in prefill that are not computed yet.
    following = 0
    total = len(arrivals)
    while following < total or waiting or heap:
        while following < total and arrivals[following][0] <= now:
            waiting.append(arrivals[following])
            following += 1
        running = len(heap)
        if waiting:
            budget = BUDGET - running
            duration = A_NS + running * B_NS + cached * C_NS
            while waiting and budget > 0:
                arrival, prompt, output = waiting[0]
                chunk = left or prompt
                if chunk > budget:
                    duration += budget * B_NS
                    left = chunk - budget
                    break
                duration += chunk * B_NS
                budget -= chunk
                left = 0
                waiting.popleft()
                heappush(heap, (step + output, prompt + output - 1, arrival))
                cached += prompt - 1
            steps = 1
        elif heap:
            # The k steps up to the next end or arrival take k * first + slope * k * (k - 1) / 2.
            steps = heap[0][0] - step
            first, slope = A_NS + running * B_NS + cached * C_NS, running * C_NS
            duration = steps * first + slope * (steps * (steps - 1) // 2)
            if following < total and now + duration > arrivals[following][0]:
                span = arrivals[following][0] - now
                half = first - slope / 2
                steps = min(steps, int(((half * half + 2 * slope * span) ** 0.5 - half) / slope) + 1)
                duration = steps * first + slope * (steps * (steps - 1) // 2)
        else:
            now = arrivals[following][0]
            continue
        now += duration
        step += steps
        iterations += steps
        cached += len(heap) * steps
        while heap and heap[0][0] <= step:
            _, tokens, arrival = heappop(heap)
            cached -= tokens
            latency += now - arrival
    return iterations, latency


def measure(path: Path) -> dict[str, float]:
    """Return the loop's figures for a trace; reading it is not counted."""
    config = TraceWorkload.model_validate({"kind": "trace", "path": str(path)}, context={BASE_DIRECTORY: Path.cwd()})
    source = build_source(config, 0)
    assert isinstance(source, RequestSource)
    queues: list[list[Arrival]] = [[] for _ in range(REPLICAS)]
    for chunk in source.chunks():
        for request in chunk:
            queues[request.request_id % REPLICAS].append(
                (request.arrival_ns, request.prompt_tokens, request.output_tokens)
            )
    started = time.perf_counter()
    iterations = sum(serve(queue)[0] for queue in queues)
    wall_s = time.perf_counter() - started
    requests = sum(map(len, queues))
    return {
        "requests": requests,
        "wall_s": wall_s,
        "requests_per_s": requests / wall_s,
        "iterations_per_s": iterations / wall_s,
        "us_per_request": wall_s / requests * 1e6,
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python scripts/bare_loop.py TRACE")
    print(json.dumps(measure(Path(sys.argv[1])), indent=1))
