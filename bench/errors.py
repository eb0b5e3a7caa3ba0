"""What ends a command with one line on standard error and a non-zero exit code."""


class BenchError(Exception):
    """Something that a user can mend; the message says what and how."""
