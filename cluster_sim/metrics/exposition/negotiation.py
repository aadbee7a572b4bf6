"""Negotiation of what a scraper gets, by its headers ``Accept`` and ``Accept-Encoding`` (RFC 9110, 12.5)."""

_OPENMETRICS = "application/openmetrics-text"
_TEXT = frozenset({"text/plain", "text/*", "*/*"})


def prefers_openmetrics(accept: str) -> bool:
    """Whether OpenMetrics is asked for, and nothing that is not better served as the older text format.

    What is not served at all, such as protobuf, falls back to the text format.
    """
    weights = _weights(accept)
    wanted = weights.get(_OPENMETRICS, 0.0)
    return wanted > 0 and wanted >= max((weight for name, weight in weights.items() if name in _TEXT), default=0.0)


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether a page may be compressed."""
    weights = _weights(accept_encoding)
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _weights(header: str) -> dict[str, float]:
    """Return the largest weight of each value of a header; a weight that cannot be read counts as 0."""
    weights: dict[str, float] = {}
    for part in header.split(","):
        name, *parameters = (word.strip().lower() for word in part.split(";"))
        weight = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    weight = float(parameter[2:])
                except ValueError:
                    weight = 0.0
        weights[name] = max(weights.get(name, 0.0), weight)
    return weights
