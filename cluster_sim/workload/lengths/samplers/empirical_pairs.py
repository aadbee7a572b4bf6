"""Lengths from the rows of a trace."""

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from cluster_sim.errors import InputError
from cluster_sim.options import MOST_ITEMS, InputFile
from cluster_sim.workload.lengths.length_sampler import LENGTHS, LengthOptions, PairSampler
from cluster_sim.workload.readers.reader_interface import ReadOptions, ReadReport
from cluster_sim.workload.readers.trace_format import AUTO, TraceFormat, find_reader
from cluster_sim.workload.sampling.random_streams import Stream


class EmpiricalLengths(LengthOptions):
    """Pairs of prompt and output lengths drawn together, with replacement, from a trace."""

    example: ClassVar = {"path": "trace.csv"}
    example_files: ClassVar = {"trace.csv": "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,4808,10\n"}

    kind: Literal["empirical"]
    format: TraceFormat = Field(default=AUTO, description="Format of the trace, as in a trace workload.")
    path: InputFile = Field(description="The trace.")
    first: int | None = Field(default=None, ge=1, le=MOST_ITEMS, description="Draw from its first rows only.")


@LENGTHS.register("empirical", EmpiricalLengths)
def build_empirical(options: EmpiricalLengths, stream: Stream) -> PairSampler:
    """Return the sampler of a trace's pairs; InputError for a wrong file."""
    path = Path(options.path)
    reader = find_reader(options.format, path)
    prompts, outputs, rows = [], [], 0
    for block in reader.blocks(path, ReadOptions(prefixes=False), ReadReport()):
        prompts.append(block.prompt_tokens)
        outputs.append(block.output_tokens)
        rows += len(block)
        if options.first is not None and rows >= options.first:
            break
    if not rows:
        raise InputError(f"{path}: no row with tokens to draw lengths from")
    prompt, output = np.concatenate(prompts)[: options.first], np.concatenate(outputs)[: options.first]
    return PairSampler(prompt, output, None, stream)
