"""Token counts of texts, where a file has no counts: a quarter of the characters, and the report says so."""

import math
from typing import Any, Final

from cluster_sim.workload.readers.json_rows import Place, kind_of_value
from cluster_sim.workload.readers.reader_interface import ReadReport

_CHARACTERS_PER_TOKEN: Final = 4


def text_tokens(text: str, report: ReadReport, what: str) -> int:
    """Return the estimated tokens of a text; the report counts the estimates of ``what``."""
    report.changed[f"{what} whose tokens were estimated as a quarter of the characters"] += 1
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)


def content_text(place: Place, content: Any, field: str) -> str:
    """Return the text of a message's content: a text, or a list of parts of which those with a text count."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in content]
        return "".join(part for part in parts if isinstance(part, str))
    raise place.error(f"a {kind_of_value(content)} where a text is expected", field)
