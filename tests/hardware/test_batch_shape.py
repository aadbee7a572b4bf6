"""Shapes of batches by hand."""

from cluster_sim.hardware.batch_shape import BatchShape


def test_tokens_and_own_prefills() -> None:
    """3 decodes, 4 drafts and chunks of 5 and 2 are 14 tokens; a chunk of one shape is none of another's."""
    shape = BatchShape(3, 40, [(5, 0), (2, 7)], 1, 4)
    assert shape.tokens == 3 + 4 + 5 + 2
    one, other = BatchShape(), BatchShape()
    one.prefills.append((5, 0))
    assert (one.tokens, other.tokens) == (5, 0)
    assert (one, other) == (BatchShape(prefills=[(5, 0)]), BatchShape())
