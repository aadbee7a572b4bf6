"""The registry of what a study chooses by name."""

import pytest

from cluster_sim.errors import InputError
from cluster_sim.factory_registry import Registry


def greetings() -> Registry[str, int, str]:
    registry = Registry[str, int, str]("router.greeting", "greeting", str.lower)
    registry.register("hello")(lambda name, times: f"{name}, hello " * times)
    registry.register("bye")(lambda name, times: f"{name}, bye " * times)
    return registry


def test_what_the_section_names_is_built() -> None:
    """The factory of the name that the section gives gets the section and the context."""
    assert greetings().build("Bye", 2) == "Bye, bye Bye, bye "


def test_an_unknown_name_lists_the_known_ones() -> None:
    """The message has the key, the name and the known names in order, and a known name passes."""
    greetings().check("HELLO")
    for refuse in (greetings().check, lambda name: greetings().build(name, 1)):
        with pytest.raises(InputError, match=r"^router\.greeting: unknown greeting 'hey'; known: bye, hello$"):
            refuse("Hey")


def test_a_name_is_registered_once() -> None:
    """A second factory of the same name is a mistake in the code."""
    with pytest.raises(AssertionError, match="greeting 'bye' is registered twice"):
        greetings().register("bye")(lambda name, times: name * times)
