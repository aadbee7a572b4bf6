"""The ``explain`` command."""

import json
from pathlib import Path

from tests.cli.command import Command
from tests.small_run import run_small


def test_explain_prints_sentences_or_json(command: Command, tmp_path: Path) -> None:
    """Sentences and a table by default, JSON with --json; an unknown request gives code 2."""
    run = run_small(tmp_path, "workload.count=20").directory
    code, text, error = command("explain", run, "7")
    assert (code, error) == (0, "")
    assert text.startswith("Request 7 finished")
    assert "together" in text
    code, text, error = command("explain", run, "7", "--json")
    plain = json.loads(text)
    assert (code, error, plain["request_id"]) == (0, "", 7)
    assert sum(plain["parts_ns"].values()) == round(plain["e2e_s"] * 1e9)
    code, text, error = command("explain", run, "20")
    assert (code, text) == (2, "")
    assert error == f"error: {run}: has no request 20; its ids run from 0 to 19\n"
