"""``candled``, and ``python -m candled``: Ctrl-C ends it quietly even while it is still being imported."""

from candled.errors import INTERRUPTED


def main() -> None:
    """Run the command line."""
    try:
        from candled.cli.main import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


if __name__ == "__main__":
    main()
