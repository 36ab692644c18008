"""What can go wrong in a way that the user can mend.

Each message is one line: what is wrong, where, and what to do. The command line prints it and exits with
`exit_code`; a caller from Python catches `SkinLesionError`.
"""


class SkinLesionError(Exception):
    """The work was begun and could not be finished, or it found faults."""

    exit_code = 1


class InputError(SkinLesionError):
    """Wrong usage or wrong input, found before any work."""

    exit_code = 2


class UnreadableImageError(SkinLesionError):
    """A file that cannot be read as a photograph."""


class TrainingError(SkinLesionError):
    """Training cannot go on: a non-finite loss, for example."""
