"""A ``config.json`` that is being read: typed access to its keys, and a record of those that were used."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from cluster_sim.errors import InputError
from cluster_sim.suggestion import suggestion

NESTED: Final = ("text_config", "llm_config", "language_config")
"""Keys under which models of several modalities keep the language model."""

MOST: Final = 1_000_000_000
"""No figure of a model is larger."""
MOST_LAYERS: Final = 10_000

_REQUIRED: Final = -1


class ConfigFile:
    """The keys of the language model in one file, those of the whole model beneath them."""

    def __init__(self, path: Path, data: Mapping[str, Any]) -> None:
        self.path = path
        self.top = dict(data)
        nested = next((key for key in NESTED if isinstance(data.get(key), dict)), None)
        text = data[nested] if nested is not None else {}
        self.keys: dict[str, Any] = {key: value for key, value in data.items() if key != nested} | dict(text)
        self._own_type = str(text.get("model_type") or data.get("model_type") or "")
        self._used: set[str] = set()
        self._defaults: dict[str, Any] = {}

    @property
    def model_type(self) -> str:
        """The architecture of the language model, without the suffix of its text part; "" if the file has none."""
        return self._own_type.removesuffix("_text")

    def set_defaults(self, defaults: Mapping[str, Any]) -> None:
        """Let keys that the file leaves out have the values that its library fills in."""
        self._defaults = dict(defaults)

    def set_layers(self, count: int) -> None:
        """Let the number of layers be the one that a list of them has, if the file leaves it out."""
        self._defaults["num_hidden_layers"] = count

    # ------------------------------------------------------------------------------------------------------- messages

    def place(self, key: str) -> str:
        """Return file, line and key, as messages begin."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except OSError:
            return f"{self.path}: {key}"
        found = re.search(rf'"{re.escape(key)}"\s*:', text)
        line = f":{text.count(chr(10), 0, found.start()) + 1}" if found else ""
        return f"{self.path}{line}: {key}"

    def fault(self, key: str, problem: str) -> InputError:
        """Return the error about a key."""
        return InputError(f"{self.place(key)}: {problem}")

    # --------------------------------------------------------------------------------------------------------- access

    def value(self, *names: str) -> Any:
        """Return the first of these keys that is set, or the library's default; None if there is neither, or the file
        says null.
        """
        self._used.update(names)
        sources = (self.keys,) if any(name in self.keys for name in names) else (self._defaults,)
        found = (source[name] for source in sources for name in names if source.get(name) is not None)
        return next(found, None)

    def has(self, name: str) -> bool:
        """Return whether the file itself sets a key."""
        return self.keys.get(name) is not None

    def use(self, *names: str) -> None:
        """Say that keys are understood, whatever they hold."""
        self._used.update(names)

    def integer(self, *names: str, default: int | None = _REQUIRED, least: int = 0, most: int = MOST) -> int:
        """Return a whole number; a missing one is an error unless there is a default."""
        value = self.value(*names)
        if value is None:
            if default == _REQUIRED:
                near = suggestion(names[0], [key for key in self.keys if key not in self._used])
                raise InputError(f"{self.path}: {' or '.join(names)}: missing, a whole number is needed{near}")
            return default or 0
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            name = next((name for name in names if self.has(name)), names[0])
            limit = f" and at most {most}" if isinstance(value, int) and value > most else ""
            raise self.fault(name, f"must be a whole number of at least {least}{limit}, not {shown(value)}")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a truth value."""
        value = self.value(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.fault(name, f"must be true or false, not {shown(value)}")
        return value

    def text(self, *names: str, default: str = "") -> str:
        """Return a text."""
        value = self.value(*names)
        if value is None:
            return default
        if not isinstance(value, str):
            name = next((name for name in names if self.has(name)), names[0])
            raise self.fault(name, f"must be a text, not {shown(value)}")
        return value

    def integers(self, name: str) -> list[int] | None:
        """Return a list of whole numbers; None if the key is not set."""
        value = self.value(name)
        if value is None:
            return None
        if not isinstance(value, list) or any(isinstance(entry, bool) or not isinstance(entry, int) for entry in value):
            raise self.fault(name, f"must be a list of whole numbers, not {shown(value)}")
        return value

    def texts(self, name: str) -> list[str] | None:
        """Return a list of texts; None if the key is not set."""
        value = self.value(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise self.fault(name, f"must be a list of texts, not {shown(value)}")
        return value

    def unused(self) -> dict[str, Any]:
        """Return the keys that nothing has used."""
        return {key: value for key, value in self.keys.items() if key not in self._used}


def shown(value: Any) -> str:
    """Return a value for messages, shortened."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
