"""Prices and volumes as text, and the colours that mean something on every view."""

from decimal import Decimal
from typing import Final

UP: Final = "green"
DOWN: Final = "red"
DOUBT: Final = "yellow"
QUIET: Final = "bright_black"
AVERAGE: Final = "magenta"


def count_decimals(value: Decimal) -> int:
    """Return how many decimals a number needs."""
    _, _, fraction = f"{value:f}".partition(".")
    return len(fraction.rstrip("0"))


def show_price(value: Decimal, decimals: int) -> str:
    """Format a price, exact where ``decimals`` are enough for it."""
    return f"{value:,.{decimals}f}"


def show_short(value: Decimal) -> str:
    """Format a volume, rounded to four digits."""
    number = value
    for unit in ("", "k", "M", "G", "T"):
        if number < 1000 or unit == "T":
            return f"{number:.3f}".rstrip("0").rstrip(".") + unit if number < 1 else f"{number:.4g}{unit}"
        number /= 1000
    raise AssertionError("the loop ends at its last unit")


def dimmed(style: str, *, dim: bool) -> str:
    """Return the style, dimmed where what it shows is not current."""
    return f"dim {style}" if dim else style
