"""What Tab completes beyond commands, options and choices: words and files, as click asks for them."""

from collections.abc import Callable, Sequence

import click
from click.shell_completion import CompletionItem

Completions = list[CompletionItem[str]]
ShellComplete = Callable[[click.Context, click.Parameter, str], Completions]


def complete_words(words: Sequence[str]) -> ShellComplete:
    """Return a completion of these words."""

    def complete(_context: click.Context, _parameter: click.Parameter, typed: str) -> Completions:
        return [CompletionItem(word) for word in words if word.startswith(typed)]

    return complete


def complete_files(_context: click.Context, _parameter: click.Parameter, typed: str) -> Completions:
    """Let the shell complete a file name."""
    return [CompletionItem(typed, type="file")]


def complete_directories(_context: click.Context, _parameter: click.Parameter, typed: str) -> Completions:
    """Let the shell complete the name of a directory."""
    return [CompletionItem(typed, type="dir")]
