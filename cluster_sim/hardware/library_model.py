"""Base of everything that a library file says: closed to unknown keys, immutable, and of finite numbers."""

from pydantic import BaseModel, ConfigDict


class LibraryModel(BaseModel):
    """A part of a library file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
