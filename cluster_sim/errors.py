"""The two exceptions that the command line turns into exit codes."""


class InputError(Exception):
    """The user's input is wrong: says what, where (file, line, key) and what would be right; the CLI exits with 2."""


class UnfinishedError(Exception):
    """A run could not finish: says who waits for what; the CLI exits with 3 and keeps what is done."""
