"""Trace format of Qwen-Bailian."""

from typing import Literal

from cluster_sim.workload.readers.json_lines import JsonLinesReader
from cluster_sim.workload.readers.trace_format import TRACE_READERS, TraceFormatOptions


class BailianFormat(TraceFormatOptions):
    """JSON lines as Mooncake's in seconds, 16 tokens each hash, with chat_id and parent_chat_id."""

    kind: Literal["bailian"] = "bailian"


@TRACE_READERS.register("bailian", BailianFormat)
class BailianReader(JsonLinesReader):
    """Lines with times in seconds."""

    unit_s = 1.0
    block_tokens = 16
    has_chats = True
    names = ("chat_id", "parent_chat_id", "timestamp", "input_length", "output_length", "hash_ids")
    sample = (
        b'{"chat_id": 1, "parent_chat_id": -1, "timestamp": 1, "input_length": 9, "output_length": 5, "hash_ids": [7]}'
        b"\n"
        b'{"chat_id": 2, "parent_chat_id": 1, "timestamp": 8, "input_length": 9, "output_length": 5, "hash_ids": [7]}'
    )
