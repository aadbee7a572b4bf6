"""The live table of several runs, and its lines where there is no terminal."""

import io

from rich.console import Console

from cluster_sim.report.task_table import MOST_AT_WORK, TaskTable


def table_on(*, is_terminal: bool, total: int = 40) -> tuple[TaskTable, Console, io.StringIO, list[float]]:
    text, now_s = io.StringIO(), [0.0]
    console = Console(file=text, force_terminal=is_terminal, width=100, color_system=None)
    return TaskTable(console, total, lambda: now_s[0]), console, text, now_s


def test_runs_at_work_and_ended() -> None:
    """The head counts and says the time left, the rows are the runs that ended last and those at work, for how long."""
    table, console, text, now_s = table_on(is_terminal=False)
    table.keep(2)
    for seed in range(1, 5):
        table.start(f"seed={seed}")
    now_s[0] = 30.0
    table.end("seed=2", "objectives met")
    text.truncate(text.seek(0))
    console.print(table.shown())
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    assert lines[0] == " 3/40, 18 min left; 3 runs at work"
    assert [line.split() for line in lines[2:]] == [
        ["seed=2", "objectives", "met"],
        *([f"seed={seed}", "at", "work,", "30", "s"] for seed in (1, 3, 4)),
    ]


def test_a_table_has_bounds() -> None:
    """Of very many runs at work the oldest have rows, and the others are counted."""
    table, console, text, _ = table_on(is_terminal=False)
    for seed in range(MOST_AT_WORK + 5):
        table.start(f"seed={seed}")
    console.print(table.shown())
    assert "and 5 more" in text.getvalue()
    assert f"seed={MOST_AT_WORK}" not in text.getvalue()


def test_lines_without_a_terminal() -> None:
    """Where there is no terminal each end is one line, whatever it contains, and nothing else is printed."""
    table, _, text, now_s = table_on(is_terminal=False, total=2)
    with table:
        table.start("a=[bold]")
        now_s[0] = 2.0
        table.end("a=[bold]", "x" * 200)
        table.end("a=2", "failed", is_instant=True)
    assert text.getvalue() == f"1/2, 2 s left: a=[bold]: {'x' * 200}\n2/2: a=2: failed\n"


def test_a_terminal_keeps_nothing_of_it() -> None:
    """On a terminal the table is drawn in place and is gone at the end."""
    table, _, text, _ = table_on(is_terminal=True, total=2)
    with table:
        table.start("seed=1")
        table.end("seed=1", "objectives met")
    assert "1/2: seed=1" not in text.getvalue()
    assert "objectives met" in text.getvalue()
