"""What the chart's tests share."""

import pytest

from tests.web.browser import NAMES, find_browser, open_page, running


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium; without one the test is skipped, and says so."""
    found = find_browser()
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed, and CANDLED_TEST_BROWSER is not set")
    with running(found) as port:
        yield port


@pytest.fixture
async def page(browser):
    """A new page."""
    async with open_page(browser) as page:
        yield page
