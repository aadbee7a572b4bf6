"""Parts of an axis for tests that run over every registered name."""

from pathlib import Path
from typing import Any

import pytest

from cluster_sim.options import BASE_DIRECTORY, ConfigModel
from cluster_sim.registry import Registry


def every_name(registry: Registry[Any]) -> Any:
    """Return the decorator that runs a test once for each name of an axis, as ``name``."""
    return pytest.mark.parametrize("name", registry.names())


def example_block(registry: Registry[Any], name: str) -> dict[str, Any]:
    """Return the example of a part, as it stands in a study."""
    return {registry.tag: name, **registry.get(name).options.example}


def example_options(registry: Registry[Any], name: str, folder: Path) -> ConfigModel:
    """Return the options of a part's example; the files that it names are written into ``folder``."""
    entry = registry.get(name)
    for file, text in entry.options.example_files.items():
        (folder / file).write_text(text, encoding="utf-8")
    block = example_block(registry, name)
    options: ConfigModel = entry.options.model_validate(block, context={BASE_DIRECTORY: folder})
    return options
