"""What the chart's tests share."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.web.browser import NAMES, Page, find_browser, open_page, running


@pytest.fixture(scope="session")
def browser() -> Iterator[int]:
    """The port of a headless Chromium; without one the test is skipped, and says so."""
    found = find_browser()
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed, and CANDLED_TEST_BROWSER is not set")
    with running(found) as port:
        yield port


@pytest.fixture
async def page(browser: int) -> AsyncIterator[Page]:
    """A new page."""
    async with open_page(browser) as page:
        yield page
