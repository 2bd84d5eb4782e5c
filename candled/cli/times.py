"""Times as people write and read them on the command line."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

_RELATIVE: Final = re.compile(r"-(\d{1,6})([mhdw])", re.ASCII)
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORMS: Final = "write 2026-05-08, 2026-05-08T14:30, with an offset if you like, or -90m, -6h, -2d, -1w, now"


class ZoneType(click.ParamType[tzinfo]):
    """A time zone by its IANA name."""

    name = "zone"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tzinfo:
        """Read the name."""
        if isinstance(value, tzinfo):
            return value
        try:
            return UTC if value.upper() == "UTC" else ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self.fail(f"{value!r} is no time zone: write a name such as UTC or Europe/Berlin", param, ctx)


tz_option = click.option(
    "--tz", "zone", type=ZoneType(), default="UTC", show_default=True, help="Time zone of times read and shown."
)


def parse_time(text: str, zone: tzinfo, *, option: str, now: datetime | None = None) -> datetime:
    """A moment from an ISO date or time (in ``zone`` unless it has an offset), ``now``, or ``-6h`` before now.

    Raises:
        click.BadParameter: none of these.
    """
    now = now or datetime.now(UTC)
    if text == "now":
        return now
    if match := _RELATIVE.fullmatch(text):
        return now - timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no time: {_FORMS}", param_hint=option) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def show_time(moment: datetime, zone: tzinfo) -> str:
    """ISO with a space, to the minute where that is exact: ``2026-05-08 14:30``."""
    local = moment.astimezone(zone)
    exact_minute = local.second == 0 and local.microsecond == 0
    return f"{local:%Y-%m-%d %H:%M}" if exact_minute else f"{local:%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".")
