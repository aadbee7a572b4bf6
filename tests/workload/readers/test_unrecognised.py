"""Files that no format or several recognise: named by what they have, and the nearest format."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster_sim.errors import InputError
from cluster_sim.workload.readers.trace_format import AUTO, find_reader


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        ("when,ContextToken,GeneratedTokens\n1,2,3\n", ("when, ContextToken", "nearest is azure", "TIMESTAMP")),
        ("arrived,prefill_tokens,num_decode_tokens\n1,2,3\n", ("nearest is vidur", "num_prefill_tokens")),
        (json.dumps({"timestamp": 1, "input_tokens": 2, "output_length": 3}), ("input_tokens", "nearest is mooncake")),
        (json.dumps([{"conversation": []}]), ("begins with: conversation;", "nearest is sharegpt")),
        ("ts,in,out\n1,2,3\n", ("begins with: ts, in, out; name the format",)),
        ("zz,qq\n1,2\n", ("begins with: zz, qq;", "columns")),
    ],
)
def test_keys_and_nearest(trace_file: Callable[..., str], content: str, messages: tuple[str, ...]) -> None:
    """The message has the file's own names, the nearest format and what it lacks."""
    path = trace_file(content)
    with pytest.raises(InputError, match="not recognised as any of aiperf_records, azure, bailian") as caught:
        find_reader(AUTO, Path(path))
    for message in messages:
        assert message in str(caught.value)


def test_two_formats_at_once(trace_file: Callable[..., str], rows: Callable[..., Any]) -> None:
    """A header with the columns of two formats is not taken for one of them; named, it is read as that."""
    path = trace_file(
        "Timestamp,Request tokens,Response tokens,arrived_at,num_prefill_tokens,num_decode_tokens\n1,2,3,4,5,6\n"
    )
    with pytest.raises(InputError, match="may be any of the formats burstgpt and vidur; name the right one"):
        rows({"kind": "trace", "path": path})
    assert rows({"kind": "trace", "path": path, "format": "vidur"}).prompt_tokens.tolist() == [5]
    assert rows({"kind": "trace", "path": path, "format": "burstgpt"}).prompt_tokens.tolist() == [2]
