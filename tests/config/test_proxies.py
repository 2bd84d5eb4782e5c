"""Which proxy the exchange is reached through, and that nothing shows its password."""

import json
from collections.abc import Mapping

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from candled.cli.main import main
from candled.config.proxies import NO_PROXIES, Proxies, find_proxies, parse_proxy
from candled.config.settings import DaemonSettings, proxy_complaint, without_credentials
from candled.errors import SettingsError
from tests.config.test_sources import load

SECRET = "hunter2-secret"
WITH_SECRET = f"http://user:{SECRET}@proxy.example:3128"


def chosen(proxies: Proxies, host: str = "api.example", port: int = 443, *, tls: bool = True) -> str:
    return str(proxies.choose(host, port, tls=tls) or "direct")


@pytest.mark.parametrize(
    ("environment", "encrypted", "plain"),
    [
        ({}, "direct", "direct"),
        ({"HTTPS_PROXY": "http://a:1"}, "http://a:1", "direct"),
        ({"https_proxy": "http://a:1"}, "http://a:1", "direct"),
        ({"HTTP_PROXY": "http://a:1"}, "direct", "http://a:1"),
        ({"http_proxy": "http://a:1"}, "direct", "http://a:1"),
        ({"ALL_PROXY": "socks5://a:1"}, "socks5://a:1", "socks5://a:1"),
        ({"all_proxy": "socks5h://a"}, "socks5h://a:1080", "socks5h://a:1080"),
        ({"ALL_PROXY": "http://a:1", "HTTPS_PROXY": "http://b:2"}, "http://b:2", "http://a:1"),
        ({"https_proxy": "http://a:1", "HTTPS_PROXY": "http://b:2"}, "http://a:1", "direct"),
        ({"HTTPS_PROXY": ""}, "direct", "direct"),
        ({"HTTPS_PROXY": "a:3128"}, "http://a:3128", "direct"),
        ({"HTTPS_PROXY": "HTTP://A/"}, "http://a:80", "direct"),
        ({"HTTPS_PROXY": "https://[::1]"}, "https://[::1]:443", "direct"),
    ],
)
def test_variables_of_proxies(environment: Mapping[str, str], encrypted: str, plain: str) -> None:
    """The variable of the scheme counts before the one for all, in either case; each port has a default."""
    proxies = find_proxies(None, environment)
    assert (chosen(proxies), chosen(proxies, tls=False)) == (encrypted, plain)


def test_setting_wins() -> None:
    """The setting counts for all addresses, whatever the variables say; ``direct`` is no proxy at all."""
    environment = {"HTTPS_PROXY": "http://b:2", "NO_PROXY": "near.example"}
    proxies = find_proxies("http://a:1", environment)
    assert (chosen(proxies), chosen(proxies, tls=False)) == ("http://a:1", "http://a:1")
    assert chosen(proxies, "near.example") == "direct"
    assert find_proxies("direct", environment) == NO_PROXIES


@pytest.mark.parametrize(
    ("exceptions", "covered", "others"),
    [
        ("*", ("api.example", "10.0.0.1"), ()),
        ("api.example", ("api.example", "API.example.", "x.api.example"), ("xapi.example", "example")),
        (".api.example", ("api.example", "x.api.example"), ("xapi.example",)),
        ("*.api.example", ("x.api.example",), ("xapi.example",)),
        ("other, api.example", ("api.example", "other"), ("b.example",)),
        ("other api.example", ("api.example", "other"), ("b.example",)),
        ("api.example:443", ("api.example",), ()),
        ("api.example:9443", (), ("api.example",)),
        ("10.0.0.0/8", ("10.1.2.3",), ("11.1.2.3", "api.example")),
        ("10.1.2.3", ("10.1.2.3",), ("10.1.2.4",)),
        ("fd00::/8", ("fd00::1",), ("fe00::1", "10.1.2.3")),
        ("::1", ("::1",), ("::2",)),
        ("[::1]:443", ("::1",), ("::2",)),
        ("localhost", ("localhost", "a.localhost", "127.0.0.1", "127.9.9.9", "::1"), ("10.0.0.1",)),
        ("127.0.0.1", ("127.0.0.1",), ("localhost",)),
        ("127.0.0.0/8", ("127.0.0.1",), ("::1",)),
        ("10.0.0.0/99, a..b, http://x/, [", (), ("api.example", "10.0.0.1")),
    ],
)
@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_no_proxy(name: str, exceptions: str, covered: tuple[str, ...], others: tuple[str, ...]) -> None:
    """Hosts, suffixes, ports, addresses, networks, loopback and a star are customary; the rest covers nothing."""
    proxies = find_proxies(None, {"HTTPS_PROXY": "http://a:1", name: exceptions})
    assert {host: chosen(proxies, host) for host in (*covered, *others)} == {
        **dict.fromkeys(covered, "direct"),
        **dict.fromkeys(others, "http://a:1"),
    }


def test_user_and_password() -> None:
    """They are read percent-decoded, with an @ as many people leave it."""
    found = parse_proxy("http://us%40er:p%3A%2F@ss@a:1")
    assert (found.user, found.password, str(found)) == ("us@er", "p:/@ss", "http://a:1")


NO_PROXY_URLS = {
    f"ftp://u:{SECRET}@a": "begin with http://",
    f"http://u:{SECRET}@a:99999": "port cannot be read",
    f"http://u:{SECRET}@a:0": "port is missing or 0",
    f"http://u:{SECRET}@a/path": "has a path",
    f"http://u:{SECRET}@a..b": "host cannot be one",
    f"http://u:{SECRET}@": "host cannot be one",
    f"http://u:{SECRET} @a": "cannot be printed",
    f"http://u:{SECRET}/@a": "percent-encoded",
    f"http://u:{SECRET}#@a:1": "percent-encoded",
    f"http://u:{SECRET * 20}@a": "longer than 255 bytes",
    f"u:{SECRET}": "port cannot be read",
    f"socks4://u:{SECRET}@a": "begin with http://",
}


@pytest.mark.parametrize("url", NO_PROXY_URLS)
def test_no_address_of_a_proxy(url: str) -> None:
    """In the setting or a variable, it is one sentence that names the source and the fault, not the text."""
    sentences = []
    with pytest.raises(SettingsError) as caught:
        load(environment={"CANDLED_PROXY": url})
    sentences.append(str(caught.value))
    with pytest.raises(SettingsError) as caught:
        find_proxies(None, {"HTTPS_PROXY": url})
    sentences.append(str(caught.value))
    with pytest.raises(ValueError) as wrong:
        DaemonSettings(proxy=url)
    assert SECRET not in str(wrong.value)
    for sentence, source in zip(sentences, ("CANDLED_PROXY", "HTTPS_PROXY"), strict=True):
        assert source in sentence
        assert NO_PROXY_URLS[url] in sentence
        assert sentence.endswith(".")
        assert sentence.count(". ") == 0
        assert SECRET not in sentence


@given(st.text(max_size=30), st.sampled_from(["", "http://", "http://u:p@", "socks5://["]))
def test_any_text_is_judged(text: str, begin: str) -> None:
    """Nothing that is typed raises an error of its own, and what is accepted is parsed."""
    if proxy_complaint(begin + text) is None:
        assert "@" not in str(parse_proxy(begin + text))
    without_credentials(begin + text)
    find_proxies(None, {"NO_PROXY": begin + text})


def test_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither ``candled config`` nor the text of the values shows it; the host is shown."""
    monkeypatch.setenv("CANDLED_PROXY", WITH_SECRET)
    for form in ("table", "json"):
        result = CliRunner().invoke(main, ["config", "--format", form])
        assert "http://***@proxy.example:3128" in result.output
        assert SECRET not in result.output
    shown = json.loads(result.output)["proxy"]
    assert shown == {"value": "http://***@proxy.example:3128", "source": "environment (CANDLED_PROXY)"}
    settings = load(environment={"CANDLED_PROXY": WITH_SECRET}).settings
    proxies = find_proxies(settings.proxy, {})
    for value in (settings, proxies, proxies.describe("https://a"), parse_proxy(WITH_SECRET)):
        assert SECRET not in f"{value!r} {value}"
    assert proxies.describe("https://a") == "through the proxy http://proxy.example:3128 (setting proxy)"
