"""Numbers of Arrow columns without pandas."""

import numpy as np
import pyarrow as pa
import pytest

from cluster_sim.output.arrow_columns import number_column, numbers_of


@pytest.mark.parametrize(("kind", "missing"), [(pa.int64(), -1), (pa.int32(), -1), (pa.float64(), np.nan)])
def test_numbers_come_back_with_their_gaps(kind: pa.DataType, missing: float) -> None:
    """Values of slices and of several chunks come back, and what is null has the value that stands for it."""
    values = np.arange(20)
    is_valid = values % 3 != 0
    whole = number_column(values, kind, is_valid)
    column = pa.chunked_array([whole.slice(3, 9), whole, number_column(values, kind), whole.slice(0, 0)])
    gaps = np.where(is_valid, values, missing)
    wanted = np.concatenate([gaps[3:12], gaps, values])
    found = numbers_of(column, missing)
    assert found.dtype == kind.to_pandas_dtype()
    np.testing.assert_array_equal(found, wanted.astype(found.dtype))
    np.testing.assert_array_equal(numbers_of(whole.slice(5), missing), gaps[5:].astype(found.dtype))
    assert len(numbers_of(whole.slice(0, 0), missing)) == 0
