"""Times and time zones on the command line."""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import click
from click.shell_completion import CompletionItem

from candled.domain.limits import TIME_MAX, TIME_MIN

_RELATIVE: Final = re.compile(r"-(\d{1,6})([mhdw])", re.ASCII)
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_FORMS: Final = "write 2026-05-08, 2026-05-08T14:30 (with an offset, if needed), -90m, -6h, -2d, -1w or now"
_EARLIEST: Final = datetime.fromtimestamp(TIME_MIN // 1_000_000, UTC)
_LATEST: Final = datetime.fromtimestamp(TIME_MAX // 1_000_000, UTC)


class ZoneType(click.ParamType[tzinfo]):
    """A time zone by its IANA name."""

    name = "zone"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tzinfo:
        """Convert the name to a time zone."""
        if isinstance(value, tzinfo):
            return value
        try:
            return UTC if value.upper() == "UTC" else ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self.fail(f"{value!r} is not a time zone: write a name such as UTC or Europe/Berlin", param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Complete the names that the system or the package tzdata has."""
        return [CompletionItem(name) for name in sorted(available_timezones()) if name.startswith(incomplete)]


tz_option = click.option(
    "--tz", "zone", type=ZoneType(), default="UTC", show_default=True, help="Time zone of times given and shown."
)


def parse_time(text: str, zone: tzinfo, *, option: str, now: datetime | None = None) -> datetime:
    """Parse an ISO date or time (in ``zone`` unless it has an offset), ``now``, or a time before now as ``-6h``.

    Raises:
        click.BadParameter: the text has none of these forms, or is a time outside the domain's limits.
    """
    now = now or datetime.now(UTC)
    try:
        moment = _parse(text, zone, now)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a time: {_FORMS}", param_hint=option) from None
    except OverflowError:  # a year before 1 or after 9999
        moment = None
    if moment is None or not _EARLIEST <= moment <= _LATEST:
        limits = f"{_EARLIEST:%Y-%m-%d} to {_LATEST:%Y-%m-%d}"
        raise click.BadParameter(f"{text!r} is not a time from {limits}", param_hint=option)
    return moment


def _parse(text: str, zone: tzinfo, now: datetime) -> datetime:
    if text == "now":
        return now
    if match := _RELATIVE.fullmatch(text):
        return now - timedelta(**{_UNITS[match[2]]: int(match[1])})
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)


def show_time(moment: datetime, zone: tzinfo) -> str:
    """Format a time as ISO 8601 with a space, without seconds where they are 0: ``2026-05-08 14:30``."""
    local = moment.astimezone(zone)
    exact_minute = local.second == 0 and local.microsecond == 0
    return f"{local:%Y-%m-%d %H:%M}" if exact_minute else f"{local:%Y-%m-%d %H:%M:%S.%f}".rstrip("0").rstrip(".")
