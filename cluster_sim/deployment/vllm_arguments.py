"""Arguments of ``vllm serve``, read as vLLM's own parser reads them.

``--a-b`` and ``--a_b`` are one flag, a value follows as ``--x=1`` or ``--x 1``, an unmistakable beginning stands for
the whole name, and of a flag given twice the last one counts.  A part of a JSON value
(``--speculative-config.method x``) stands for its whole flag.
"""

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cluster_sim.deployment.findings import Findings
from cluster_sim.deployment.server import Argument, Stated
from cluster_sim.deployment.vllm_flags import ALIASES, MODELLED, NOT_MODELLED, Kind, flag_kinds
from cluster_sim.errors import InputError

_FLAG: Final = re.compile(r"--?[A-Za-z]")
_OPEN: Final = re.compile(r"\$\{?[A-Za-z_(]")
"""A variable or template that the file does not resolve."""


@dataclass(frozen=True, slots=True)
class CommandArguments:
    """The arguments of one server."""

    model: Stated | None
    """The positional argument."""
    arguments: list[Argument]


def parse_arguments(
    tokens: Sequence[Stated], findings: Findings, extra: Mapping[str, Kind] | None = None
) -> CommandArguments:
    """Return flags and model of a command line; flags that are unknown or have no value yet are found and left out.

    ``extra`` are flags of a program that wraps vLLM.

    Raises InputError for a flag without its value, and for a beginning that several flags share.
    """
    kinds = {**flag_kinds(), **(extra or {})}
    model: Stated | None = None
    last: dict[str, Argument] = {}
    for found in _split(tokens, kinds, findings):
        if isinstance(found, Stated):
            if model is not None:
                is_open = _OPEN.search(found.text)
                findings.wonder(
                    found.place, found.text, "the file gives it no value" if is_open else "belongs to no flag"
                )
            else:
                model = found
            continue
        if found.value is not None and _OPEN.search(found.value) and found.name not in {"model", "served-model-name"}:
            setting, text = f"{found.written} {found.value}", "the file gives the variable no value"
            if found.name in MODELLED or found.name in NOT_MODELLED:
                text += ", so vLLM's default is taken; give it with --env NAME=VALUE"
                findings.wonder(found.place, setting, text)
            else:
                findings.ignore(found.place, setting)
            continue
        last.pop(found.name, None)
        last[found.name] = found
    return CommandArguments(model, list(last.values()))


def _split(tokens: Sequence[Stated], kinds: dict[str, Kind], findings: Findings) -> Iterator[Argument | Stated]:
    """Yield flags with their values, and the tokens that belong to none."""
    position = 0
    while position < len(tokens):
        token = tokens[position]
        position += 1
        if not _FLAG.match(token.text):
            yield token
            continue
        written, has_value, value = token.text.partition("=")
        name, switched_on = _known_name(written, kinds, token.place)
        if name is None:
            values = []
            while not has_value and position < len(tokens) and not _FLAG.match(tokens[position].text):
                values.append(tokens[position].text)
                position += 1
            given = " ".join([token.text, *values])
            findings.wonder(token.place, given, f"unknown flag{_nearest(written, kinds)}")
            continue
        kind = kinds[name]
        if kind == "switch":
            yield Argument(name, _switch(value if has_value else "true", switched_on, token), token.place, written)
            continue
        short = re.match(r"-(O)(\d)$", written)
        if short is not None:
            has_value, value = "=", short[2]
        values = [value] if has_value else []
        if not has_value:
            most = len(tokens) if kind == "values" else position + 1
            while position < min(most, len(tokens)) and not _FLAG.match(tokens[position].text):
                values.append(tokens[position].text)
                position += 1
        if not values:
            raise InputError(f"{token.place}: {written}: its value is missing")
        yield Argument(name, " ".join(values), token.place, written)


def _known_name(written: str, kinds: dict[str, Kind], place: str) -> tuple[str | None, bool]:
    """Return the canonical name of a flag, None if it is unknown, and whether a switch is switched on by it."""
    if not written.startswith("--"):
        short = written.removeprefix("-").partition(".")[0].replace("_", "-")
        if re.fullmatch(r"O\d", short):
            short = "O"
        return ALIASES.get(short), True
    name = written.removeprefix("--").partition(".")[0].replace("_", "-")
    if name in kinds:
        return name, True
    negated = name.removeprefix("no-")
    if negated != name and kinds.get(negated) == "switch":
        return negated, False
    longer = sorted(known for known in kinds if known.startswith(name))
    if len(longer) > 1:
        raise InputError(f"{place}: {written}: stands for several flags: {', '.join('--' + each for each in longer)}")
    return (longer[0] if longer else None), True


def _switch(value: str, switched_on: bool, token: Stated) -> str:
    """Return "true" or "false" for a switch; older versions of vLLM take ``--enable-x=false`` too."""
    lowered = value.strip().lower()
    if lowered not in {"true", "false", "1", "0"}:
        raise InputError(f"{token.place}: {token.text}: must be a switch alone, or have true or false; got {value!r}")
    is_on = lowered in {"true", "1"}
    return "true" if is_on is switched_on else "false"


def _nearest(written: str, kinds: dict[str, Kind]) -> str:
    name = written.lstrip("-").replace("_", "-")
    close = difflib.get_close_matches(name, sorted(kinds), n=1)
    return f"; the nearest that is known is --{close[0]}" if close else ""
