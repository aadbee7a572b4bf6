"""Names of a file's own columns, for files of no known format."""

from typing import Final, Literal

from pydantic import Field

from cluster_sim.options import ConfigModel

UNIT_S: Final = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
TEXTS: Final = ("session_id", "tenant", "model")
"""Attributes of a request that a column may give."""


class ColumnNames(ConfigModel):
    """Columns of a CSV or Parquet file, or fields of JSON lines (``a.b`` is field b of the object a)."""

    arrival: str | None = Field(
        default=None, description="Arrival: a number in unit, or a date of ISO 8601 with or without zone."
    )
    prompt_tokens: str = Field(description="Prompt tokens.")
    output_tokens: str = Field(description="Output tokens.")
    session_id: str | None = Field(default=None, description="Session: rows of equal text are turns in their order.")
    tenant: str | None = Field(default=None, description="Tenant.")
    model: str | None = Field(default=None, description="Model that is asked for.")
    unit: Literal["s", "ms", "us", "ns"] | None = Field(
        default=None,
        description="Unit of arrivals that are numbers; absent: seconds, asked about where these make no sense.",
    )
