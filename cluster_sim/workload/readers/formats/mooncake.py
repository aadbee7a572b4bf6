"""Trace format of Mooncake."""

from typing import Literal

from pydantic import Field

from cluster_sim.workload.readers.json_lines import JsonLinesReader
from cluster_sim.workload.readers.session_lines import TurnLengths
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions


class MooncakeFormat(TraceFormatOptions):
    """JSON lines of timestamp (ms), input_length, output_length, hash_ids (512 tokens each); session_id, delay (ms)."""

    kind: Literal["mooncake"] = "mooncake"
    turn_lengths: TurnLengths = Field(
        default="auto",
        description="Rows with session_id: whether input_length is the new tokens of a turn or the whole prompt; auto: "
        "whole where the hashes of every turn begin with those of the turn before.",
    )


@TRACE_READERS.register("mooncake", MooncakeFormat)
class MooncakeReader(JsonLinesReader):
    """Lines with times in ms."""

    unit_s = 0.001
    block_tokens = 512
    sample = b'{"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [7, 8]}\n' * 2
