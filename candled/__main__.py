"""``candled``, and ``python -m candled``: Ctrl-C is quiet while it is being imported, and while it ends."""

import signal

from candled.errors import INTERRUPTED


def main() -> None:
    """Run the command line."""
    try:
        from candled.cli.main import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    finally:
        # Everything is done: a second Ctrl-C while the interpreter ends must not spoil the exit status.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    main()
