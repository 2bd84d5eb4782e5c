"""Decimals of eight places as whole numbers of 10^-8, and back to text."""


def decimal_text(units: int) -> str:
    """Units of 10^-8 as the original writes them: plain, always eight decimals."""
    digits = f"{units:09d}"
    return f"{digits[:-8]}.{digits[-8:]}"


def to_units(text: str) -> int:
    """Read a recorded decimal exactly, as units of 10^-8.

    Raises:
        ValueError: not a decimal, negative, or finer than eight decimals.
    """
    whole, _, fraction = text.partition(".")
    digits = whole + fraction[:8].ljust(8, "0")
    if not (whole and digits.isascii() and digits.isdigit()) or fraction[8:].strip("0"):
        raise ValueError(f"{text[:60]!r} is not a plain decimal with at most eight places")
    return int(digits)
