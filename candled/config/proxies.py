"""Which proxy a connection goes through: from the setting ``proxy``, or from the customary variables.

``HTTPS_PROXY`` counts for https and wss, ``HTTP_PROXY`` for http and ws, ``ALL_PROXY`` for both; the name in lower
case wins. ``NO_PROXY`` names what is reached directly, whichever of them says otherwise. The user and password of
a proxy are secrets: nothing here shows them, not even in the message about an address that is none.
"""

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network
from typing import Final
from urllib.parse import unquote, urlsplit

import attrs

from candled.config.settings import PROXY_SCHEMES, base_url_complaint, proxy_complaint
from candled.errors import SettingsError

DIRECT: Final = "direct"
"""Value of the setting ``proxy`` that ignores the variables."""
_PORTS: Final = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_VARIABLES: Final = {"https": ("https_proxy", "all_proxy"), "http": ("http_proxy", "all_proxy")}
_SEPARATOR: Final = re.compile(r"[,\s]+")


@attrs.frozen
class Proxy:
    """A proxy; as text without its user and password."""

    scheme: str
    """One of ``settings.PROXY_SCHEMES``."""
    host: str
    port: int
    user: str | None = attrs.field(default=None, repr=False)
    password: str = attrs.field(default="", repr=False)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_proxy(text: str) -> Proxy:
    """Parse a proxy's URL; one without a scheme is http.

    Raises:
        ValueError: it is none; the text says why and does not repeat it.
    """
    if (complaint := proxy_complaint(text)) is not None:
        raise ValueError(complaint)
    parts = urlsplit(text if "://" in text else f"http://{text}")
    user = None if parts.username is None else unquote(parts.username)
    port = _PORTS[parts.scheme] if parts.port is None else parts.port
    return Proxy(parts.scheme, parts.hostname or "", port, user, unquote(parts.password or ""))


@attrs.frozen
class _Entry:
    """An entry of ``NO_PROXY``."""

    host: str
    """In lower case, without the dot or star in front."""
    port: int | None

    def covers(self, host: str, port: int) -> bool:
        if self.port not in (None, port):
            return False
        try:
            address = ip_address(host)
        except ValueError:
            return host == self.host or host.endswith(f".{self.host}")
        if self.host == "localhost":
            return address.is_loopback
        try:
            return address in ip_network(self.host, strict=False)
        except ValueError:
            return False


@attrs.frozen
class Proxies:
    """The choice of a proxy, or of none, for each address."""

    by_scheme: Mapping[str, tuple[Proxy, str]] = attrs.field(factory=dict)
    """For http and https: the proxy and the name of the setting or variable that names it."""
    exceptions: tuple[_Entry, ...] = ()
    is_all_excepted: bool = False
    """``NO_PROXY`` is a star."""

    def choose(self, host: str, port: int, *, tls: bool) -> Proxy | None:
        """Return the proxy for a connection to a host, None for a direct one."""
        found = self.by_scheme.get("https" if tls else "http")
        name = host.lower().removesuffix(".")
        if found is None or self.is_all_excepted or any(each.covers(name, port) for each in self.exceptions):
            return None
        return found[0]

    def describe(self, url: str) -> str:
        """Say how a base URL is reached: the proxy with the source of its name, or "directly"."""
        parts = urlsplit(url)
        tls = parts.scheme in ("https", "wss")
        proxy = self.choose(parts.hostname or "", parts.port or (443 if tls else 80), tls=tls)
        if proxy is None:
            return "directly"
        return f"through the proxy {proxy} ({self.by_scheme['https' if tls else 'http'][1]})"


NO_PROXIES: Final = Proxies()
"""Every connection is direct."""


def find_proxies(configured: str | None, environment: Mapping[str, str]) -> Proxies:
    """Return the proxies that the setting ``proxy`` and the environment name.

    Args:
        configured: the setting; None leaves the choice to the variables, ``direct`` ignores them.
        environment: all variables.

    Raises:
        SettingsError: a variable's text cannot be a proxy; it names the variable, not the text.
    """
    if configured == DIRECT:
        return NO_PROXIES
    entries = [entry for entry in _SEPARATOR.split(_variable("no_proxy", environment)[1]) if entry]
    by_scheme = {}
    for scheme, names in _VARIABLES.items():
        if configured:
            by_scheme[scheme] = parse_proxy(configured), "setting proxy"
            continue
        for variable, text in (_variable(name, environment) for name in names):
            if text:
                by_scheme[scheme] = _parse_variable(variable, text), variable
                break
    return Proxies(by_scheme, tuple(_exceptions(entries)), "*" in entries)


def _variable(name: str, environment: Mapping[str, str]) -> tuple[str, str]:
    for variable in (name, name.upper()):
        if text := environment.get(variable, "").strip():
            return variable, text
    return name.upper(), ""


def _parse_variable(variable: str, text: str) -> Proxy:
    try:
        return parse_proxy(text)
    except ValueError as error:
        raise SettingsError(
            f"Variable {variable} must be the URL of a proxy like {PROXY_SCHEMES[0]}://host:port ({error}): "
            f"correct it, or set proxy to {DIRECT!r} to use none."
        ) from None


def _exceptions(entries: Iterable[str]) -> Iterable[_Entry]:
    """Read entries of ``NO_PROXY``; one that cannot be a host covers nothing, as is customary."""
    for entry in entries:
        name = entry.lower().removeprefix("*").removeprefix(".").removesuffix(".")
        if name.count(":") > 1 and not name.startswith("["):  # an IPv6 address
            yield _Entry(name, None)
        elif base_url_complaint(f"http://{name}", ("http",)) is None:
            parts = urlsplit(f"http://{name}")
            yield _Entry(parts.hostname or "", parts.port)
        elif "/" in name:
            yield _Entry(name, None)
