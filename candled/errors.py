"""The one kind of error that is shown to a user as a sentence instead of a traceback."""

from typing import Final

INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, as shells expect it: 128 + SIGINT."""


class UserError(Exception):
    """Something outside candled's code is wrong, and its text is one sentence that says what to change.

    Every part raises (subclasses of) it for mistakes and circumstances that a user can mend: a bad setting, a port
    in use, an unwritable directory. Anything else that escapes is a programming error and keeps its traceback.
    """

    exit_status: int = 1
    """What the process exits with."""


class SettingsError(UserError):
    """A setting's name or value is wrong; the text names the setting, where it came from, and what is allowed."""

    exit_status = 2
