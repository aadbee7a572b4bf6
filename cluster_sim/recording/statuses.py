"""Statuses with which a request can end."""

from typing import Final

FINISHED: Final = "finished"
REFUSED: Final = "refused"
FAILED: Final = "failed"
CANCELLED: Final = "cancelled"
SHED: Final = "shed"
UNFINISHED: Final = "unfinished"

STATUSES: Final = (FINISHED, REFUSED, FAILED, CANCELLED, SHED, UNFINISHED)
"""Every status a row of ``requests.parquet`` may have."""
