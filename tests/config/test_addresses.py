"""Addresses that are none are refused in one sentence before anything starts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from candled.config.settings import address, base_url_complaint
from candled.errors import SettingsError
from tests.config.test_sources import load

USER, PATH, HOST = "it names a user", "it has a path", "its host cannot be one"
UNREAD, PORT, PRINT = "its host or port cannot be read", "its port is missing or 0", "cannot be printed"
NO_ADDRESSES = {
    "https://a:notaport": UNREAD,
    "https://a:99999": UNREAD,
    "https://a:65536": UNREAD,
    "https://a:-1": UNREAD,
    f"https://a:{'9' * 5000}": UNREAD,
    "https://a:0": PORT,
    "https://a:": PORT,
    "https://[::1": UNREAD,
    "https://[::g]": UNREAD,
    "https://a..b": HOST,
    "https://.a": HOST,
    "https://a,b": HOST,
    "https://-a.example": HOST,
    "https://a-.example": HOST,
    "https://": HOST,
    "https://:443": HOST,
    f"https://{'a' * 64}.example": HOST,
    f"https://{'.'.join(['a' * 60] * 5)}": HOST,
    "https://a%2fb": HOST,
    "https://a/api": PATH,
    "https://a/api/v3": PATH,
    "https://a//": PATH,
    "https://a?": PATH,
    "https://a/?x=1": PATH,
    "https://a#": PATH,
    "https://user@a": USER,
    "https://user:secret@a": USER,
    "https://@a": USER,
    "https://a b": PRINT,
    "https://a\n": PRINT,
    "https://a\x1b[2J": PRINT,
    "a:443": "begin with https://",
    "//a": "begin with https://",
    "ftp://a": "begin with https://",
    "": "begin with https://",
}
ADDRESSES = (
    "https://api.example.com",
    "https://api.example.com/",
    "https://a.",
    "https://a:1",
    "https://a:65535/",
    "HTTPS://A",
    "https://127.0.0.1:9443",
    "https://[::1]:9443/",
    "https://b\u00fccher.example",
    "https://my_service.namespace.svc:8443",
)


@pytest.mark.parametrize("url", NO_ADDRESSES)
def test_no_base_url(url: str) -> None:
    """Each kind of text that is no address has its own complaint."""
    complaint = base_url_complaint(url, ("https",))
    assert complaint is not None
    assert NO_ADDRESSES[url] in complaint


@pytest.mark.parametrize("url", ADDRESSES)
def test_base_url(url: str) -> None:
    """Hosts, IP addresses and ports are accepted, and so is a slash at the end."""
    assert base_url_complaint(url, ("https",)) is None


@pytest.mark.parametrize(("name", "scheme"), [("rest_urls", "http"), ("stream_urls", "ws")])
@pytest.mark.parametrize("rest", ["a:notaport", "a:99999", "a..b", "a/path", "user@a"])
def test_wrong_address_is_one_sentence(name: str, scheme: str, rest: str) -> None:
    """The setting, the URL and what is wrong with it are named; the other URLs of the list do not hide it."""
    with pytest.raises(SettingsError) as caught:
        load({name: f"{scheme}://good,{scheme}://{rest}"})
    text = str(caught.value)
    assert name in text
    assert f"{scheme}://{rest}: " in text
    assert text.count(". ") == 0
    assert text.endswith(".")


def test_slash_at_end_is_accepted() -> None:
    """It is accepted in both lists."""
    settings = load({"rest_urls": "http://a/,https://b:1/", "stream_urls": "wss://a/"}).settings
    assert (len(settings.rest_urls), len(settings.stream_urls)) == (2, 1)


@given(st.text(max_size=40), st.sampled_from(["", "https://", "https://a:", "https://["]))
def test_any_text_is_judged(text: str, begin: str) -> None:
    """Nothing that is typed raises an error of its own."""
    base_url_complaint(begin + text, ("https",))
    address(begin + text)


@pytest.mark.parametrize(
    "value",
    [
        "a",
        "a:",
        "a:notaport",
        "a:99999",
        "a:-1",
        f"a:{'9' * 5000}",
        "a:\u0661",
        "a..b:1",
        "http://a:1",
        "a/b:1",
        "[a:1",
    ],
)
def test_no_listening_address(value: str) -> None:
    """A port beyond its range and a host that cannot be one are refused for the daemon's own ports, too."""
    assert address(value) is not None


@pytest.mark.parametrize(
    "value", ["localhost:0", "127.0.0.1:8080", "[::1]:8080", "::1:8080", ":8080", "0.0.0.0:1"]
)
def test_listening_address(value: str) -> None:
    """Names, IP addresses with or without brackets, and a port alone are accepted."""
    assert address(value) is None
