"""Groups of commands whose arguments may begin with ``~``, the home directory."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import typer

Command = TypeVar("Command", bound=Callable[..., Any])


class CommandGroup(typer.Typer):
    """A group that gives its commands every path in full: shells leave ``--out=~/runs`` as it is."""

    def command(self, *arguments: Any, **settings: Any) -> Callable[[Command], Command]:
        """Return a decorator that makes a function a command of the group, and returns the function as it was."""
        register = super().command(*arguments, **settings)

        def decorate(function: Command) -> Command:
            @wraps(function)
            def call(*given: Any, **values: Any) -> Any:
                return function(*given, **{name: in_full(value) for name, value in values.items()})

            register(call)
            return function

        return decorate


def in_full(value: Any) -> Any:
    """Return a path, a text or a list of them with the home directory that a ``~`` at the beginning stands for."""
    if isinstance(value, Path):
        return Path(os.path.expanduser(value)) if str(value).startswith("~") else value  # noqa: PTH111 - see below
    if isinstance(value, list):
        return [in_full(item) for item in value]
    # Not `Path.expanduser`, which refuses the names of users that are not there: they may be files.
    return os.path.expanduser(value) if isinstance(value, str) and value.startswith("~") else value  # noqa: PTH111
