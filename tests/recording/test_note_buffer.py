from copy import copy

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cluster_sim.recording.note_buffer import NoteBuffer


@given(st.lists(st.lists(st.integers(-(2**40), 2**40), max_size=90), max_size=8))
def test_values(parts: list[list[int]]) -> None:
    """Everything noted stands in order, however it was noted and often as the memory has grown."""
    buffer, expected = NoteBuffer(), list[int]()
    for number, part in enumerate(parts):
        several = np.array(part, np.int64)
        if number % 2:
            buffer.extend(several)
            expected += part
        else:
            buffer.extend_sums(several, 7)
            expected += [value + 7 for value in part]
        buffer.append_pair(number, len(part))
        expected += [number, len(part)]
    assert buffer.values.tolist() == expected
    assert copy(buffer).values.tolist() == expected


def test_sums_of_two_buffers() -> None:
    """What is added to the notes of one buffer is not added to those of another: 1 + 10, 2 + 10; 1 + 200, 2 + 200."""
    several, first, second = np.array([1, 2], np.int64), NoteBuffer(), NoteBuffer()
    first.extend_sums(several, 10)
    second.extend_sums(several, 200)
    first.extend_sums(several, 30)
    assert (first.values.tolist(), second.values.tolist()) == ([11, 12, 31, 32], [201, 202])
    assert several.tolist() == [1, 2]


def test_dropped_notes() -> None:
    """Notes are forgotten from the end, and others take their place in the same memory."""
    buffer = NoteBuffer()
    buffer.extend(np.arange(5, dtype=np.int64))
    buffer.drop(2)
    memory = buffer.memory
    first = buffer.reserve(1)
    buffer.values[first] = 9
    assert buffer.values.tolist() == [0, 1, 2, 9]
    assert buffer.memory is memory
    buffer.clear()
    assert buffer.size == 0
