"""What a header ``Retry-After`` may ask for, whatever stands in it."""

import pytest

from candled.feed.headers import RETRY_SECONDS_MAX, Reading, retry_after


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        (b"2", Reading(2.0)),
        (b"0", Reading(0.0)),
        (b"3600", Reading(3600.0)),
        (b"3601", Reading(RETRY_SECONDS_MAX, refused=True)),
        (b"86400", Reading(RETRY_SECONDS_MAX, refused=True)),
        (b"9" * 400, Reading(RETRY_SECONDS_MAX, refused=True)),
        (b"", Reading(None, refused=True)),
        (b"-1", Reading(None, refused=True)),
        (b"1e3", Reading(None, refused=True)),
        (b"soon", Reading(None, refused=True)),
        ("\u0663".encode(), Reading(None, refused=True)),
    ],
)
def test_wait_is_read(text: bytes, reading: Reading) -> None:
    """Digits alone count, up to an hour; anything else is refused."""
    assert retry_after({b"retry-after": text}) == reading


def test_no_header_states_nothing() -> None:
    """Which is not a mistake of the exchange."""
    assert retry_after({b"date": b"now"}) == Reading(None)
