"""Tests of what a scraper gets."""

import pytest

from cluster_sim.metrics.exposition.negotiation import accepts_gzip, prefers_openmetrics

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"


@pytest.mark.parametrize(
    ("accept", "is_openmetrics"),
    [
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, True),
        ("", False),
        ("*/*", False),
        (PROTOBUF, False),
        (f"{PROTOBUF};q=0.7,{PROMETHEUS_3}", True),
        ("text/plain;version=0.0.4,application/openmetrics-text;q=0.5", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=much", False),
        (",;;q==,\x00", False),
    ],
)
def test_scrapers_get_what_they_prefer(accept: str, is_openmetrics: bool) -> None:
    """OpenMetrics goes to those that prefer it to the text format, which everybody else gets."""
    assert prefers_openmetrics(accept) is is_openmetrics


@pytest.mark.parametrize(
    ("encoding", "is_gzip"),
    [("gzip", True), ("deflate, gzip;q=0.5", True), ("gzip;q=0", False), ("", False), ("*", True)],
)
def test_pages_are_compressed_for_those_that_take_it(encoding: str, is_gzip: bool) -> None:
    """A scraper that takes gzip, and only that, gets it."""
    assert accepts_gzip(encoding) is is_gzip
