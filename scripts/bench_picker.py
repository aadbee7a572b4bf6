"""Measure one decision of the endpoint picker: CPU microseconds for some configurations and numbers of candidates.

``python scripts/bench_picker.py [FILE ...]`` takes EndpointPickerConfig files beside what is built in;
``--candidates N`` (repeatable) says how many replicas there are.  A plain loop of 5 million additions is reported
beside, since on a shared machine the speed varies.  Prompts have 4,096 tokens: a shared beginning of 2,048, 1,024 of
one of 200 conversations, and the rest their own.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from cluster_sim.document import Document
from cluster_sim.routing.candidates import Candidate, Candidates
from cluster_sim.routing.policies.endpoint_picker import EndpointPicker, EndpointPickerOptions
from cluster_sim.serving.messages import Sample
from cluster_sim.workload.request import Attributes, Request

HEAD = {"apiVersion": "llm-d.ai/v1alpha1", "kind": "EndpointPickerConfig"}
BUILT_IN: dict[str, dict[str, Any]] = {
    "default": {},
    "load-aware": {"plugins": [{"type": "load-aware-scorer"}]},
    "precise": {"plugins": [{"type": "precise-prefix-cache-scorer"}, {"type": "no-hit-lru-scorer"}]},
    "counts": {"plugins": [{"type": "active-request-scorer"}, {"type": "token-load-scorer"}]},
    "adapters": {"plugins": [{"type": "lora-affinity-scorer"}, {"type": "queue-scorer"}]},
}
WARM, MEASURED, BATCH = 500, 2500, 100


def requests() -> list[Request]:
    """Return the requests, the first of which are not measured."""
    return [
        Request(number, 0, 4096, 10, Attributes(segments=((number % 50, 2048), (1000 + number % 200, 1024))))
        for number in range(WARM + MEASURED)
    ]


def build(config: dict[str, Any], count: int) -> EndpointPicker:
    """Return a picker for candidates whose figures differ."""
    options = EndpointPickerOptions.model_validate({"config": config} if config else {})
    members = [Candidate(number, kv_blocks=31_250, block_size=16, role="both") for number in range(count)]
    picker = EndpointPicker(options, Candidates(count, 7, [0] * count, members))
    for position in range(count):
        picker.on_sample(position, Sample(position, position % 11, position % 7, position * 37 % 100 / 100))
    return picker


def microseconds(picker: EndpointPicker) -> float:
    """Return the CPU time of a decision: of the fastest batch, since others on the machine only slow it down."""
    asked = requests()
    for request in asked[:WARM]:
        picker.choose(request, 0, None)
    fastest_s = float("inf")
    for first in range(WARM, WARM + MEASURED, BATCH):
        start = time.process_time()
        for request in asked[first : first + BATCH]:
            picker.choose(request, 0, None)
        fastest_s = min(fastest_s, time.process_time() - start)
    return fastest_s / BATCH * 1e6


def main() -> None:
    """Print one line a configuration and number of candidates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--candidates", action="append", type=int)
    arguments = parser.parse_args()
    configs = {name: {**HEAD, **content} if content else {} for name, content in BUILT_IN.items()}
    configs |= {path.stem: Document.read(path).data for path in arguments.files}
    start = time.process_time()
    total = 0
    for number in range(5_000_000):
        total += number
    print(f"{'plain loop of 5,000,000 additions':40} {time.process_time() - start:8.2f} s")
    for name, config in configs.items():
        for count in arguments.candidates or [8, 1024]:
            print(f"{name:32} {count:7} {microseconds(build(config, count)):8.1f} us")


if __name__ == "__main__":
    main()
