"""Errors that are shown to a user as a sentence instead of a traceback."""

from typing import Final

INTERRUPTED: Final = 130
"""Exit status after Ctrl-C, as shells expect it: 128 + SIGINT."""


class UserError(Exception):
    """A problem outside of the code; the text is one sentence that says what to change.

    Parts raise it, or a subclass, for mistakes and circumstances that a user can correct: a bad setting, a port in
    use, an unwritable directory. Any other error that escapes is a programming error and keeps its traceback.
    """

    exit_status: int = 1
    """Exit status of the process."""


def sentence(text: str) -> str:
    """Return a text as users read it: with a capital first letter and a full stop.

    A first word that is a name in code, a path or an address stays as it is, and so does the end of several lines:
    the last may point to a place in the one before.
    """
    first = text.split(maxsplit=1)[0] if text.split() else ""
    if first.isalpha() and first.islower():
        text = f"{text[:1].upper()}{text[1:]}"
    return text if "\n" in text or text.endswith((".", "!", "?")) else f"{text}."


class SettingsError(UserError):
    """A setting has a wrong name or value; the text names the setting, its source, and what is allowed."""

    exit_status = 2
