"""``candled doctor``: check what would keep a daemon with these settings from working."""

import json
import os
import resource
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import attrs
import click
import trio

from candled.cli.settings_options import load_daemon_settings, settings_options
from candled.config.exposure import http_exposure
from candled.config.proxies import Proxies, find_proxies
from candled.config.settings import DaemonSettings
from candled.feed.errors import FeedError
from candled.feed.registry import find_adapter
from candled.feed.transport.frames import HANDSHAKE_SECONDS
from candled.feed.transport.proxy import proxied_connect, proxied_network
from candled.feed.transport.tcp import connect_tcp
from candled.feed.transport.websocket import ConnectionLost, why_lost

_CLOCK_SECONDS_MAX: Final = 2.0
_DISK_BYTES_MIN: Final = 1_000_000_000
_OPEN_FILES_MIN: Final = 4_096
_ADVICE: Final = "check the network, proxy and firewall, or name others with"

State = Literal["ok", "warn", "fail"]


@attrs.frozen
class Finding:
    """The result of one check."""

    check: str
    state: State
    text: str
    """What was found and, unless the state is ok, what to do."""


@click.command("doctor")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@settings_options(DaemonSettings)
def command(form: str, config: str | None, **options: Any) -> None:
    """Check clock, exchange, ports, disk and permissions for a daemon with these settings.

    Changes nothing. Exit status 1 if something would keep the daemon from working.
    """
    settings = load_daemon_settings(config, options).settings
    findings = []
    for finding in examine(settings):
        findings.append(finding)
        if form == "table":
            mark = {"ok": "ok  ", "warn": "WARN", "fail": "FAIL"}[finding.state]
            click.echo(f"{mark}  {finding.check:<12} {finding.text}")
    if form == "json":
        click.echo(json.dumps([attrs.asdict(finding) for finding in findings], indent=2, ensure_ascii=False))
    if any(finding.state == "fail" for finding in findings):
        raise SystemExit(1)


def examine(settings: DaemonSettings) -> Iterator[Finding]:
    """Run every check, one after the other."""
    yield _directory(settings.data_dir)
    yield _disk(settings.data_dir)
    yield _port("grpc port", settings.grpc_address, "--grpc-address")
    yield _port("http port", settings.http_address, "--http-address")
    yield from _exposure(settings)
    yield _open_files()
    proxies = find_proxies(settings.proxy, os.environ)
    yield from _routes(settings, proxies)
    rest = (trio.run(_rest, settings, url, proxies) for url in settings.rest_urls)
    yield from _one_is_enough("rest", rest)
    yield from _one_is_enough("stream", (trio.run(_stream, url, proxies) for url in settings.stream_urls))


def _directory(path: Path) -> Finding:
    place = path.absolute()
    existing = _existing(place)
    if not existing.is_dir():
        return Finding("data dir", "fail", f"{existing} is not a directory: choose another with --data-dir.")
    if not os.access(existing, os.W_OK | os.X_OK):
        text = f"{existing} is not writable for this user: change its owner, or choose another with --data-dir."
        return Finding("data dir", "fail", text)
    return Finding("data dir", "ok", f"{place} {'is writable' if existing == place else 'can be created'}")


def _disk(path: Path) -> Finding:
    place = _existing(path.absolute())
    free = shutil.disk_usage(place).free
    if free < _DISK_BYTES_MIN:
        text = f"only {free / 1e9:.2f} GB free on {place}: free some space; a year of one symbol takes 30 MB."
        return Finding("disk", "warn", text)
    return Finding("disk", "ok", f"{free / 1e9:.0f} GB free")


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _port(check: str, address: str, option: str) -> Finding:
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        text = (
            f"{address}: {error.strerror}: stop the daemon that may be running, or choose another with {option}."
        )
        return Finding(check, "fail", text)
    return Finding(check, "ok", f"{address} is free")


def _exposure(settings: DaemonSettings) -> Iterator[Finding]:
    text = http_exposure(settings)
    if text is not None:
        yield Finding("http access", "warn", text)


def _open_files() -> Finding:
    # The daemon raises the soft limit to this by itself.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return Finding("open files", "ok", "no limit")
    if hard < _OPEN_FILES_MIN:
        text = f"limit {hard}: thousands of clients need more; raise the hard limit, as with `ulimit -Hn 65536`."
        return Finding("open files", "warn", text)
    return Finding("open files", "ok", f"limit {hard}")


async def _rest(settings: DaemonSettings, url: str, proxies: Proxies) -> list[Finding]:
    """Check that REST answers, and compare this machine's clock with the exchange's."""
    adapter = find_adapter(settings.exchange)
    try:
        async with adapter.open_rest([url], None, proxied_network(proxies, [url])) as rest:
            before = time.time()
            server = await rest.server_time() / 1_000_000
            after = time.time()
    except FeedError as error:
        reason = str(error).removeprefix(f"{url.rstrip('/')}: ").rstrip(".")
        return [Finding("rest", "fail", f"{url} does not answer: {reason}; {_ADVICE} --rest-urls.")]
    findings = [Finding("rest", "ok", f"{url} answers in {(after - before) * 1000:.0f} ms")]
    away = server - (before + after) / 2
    if abs(away) > _CLOCK_SECONDS_MAX:
        text = f"{away:+.1f} s from the exchange's: bars do not depend on it, logs and alerts do; synchronise it."
        findings.append(Finding("clock", "warn", text))
    else:
        findings.append(Finding("clock", "ok", f"{away * 1000:+.0f} ms from the exchange's"))
    return findings


async def _stream(url: str, proxies: Proxies) -> list[Finding]:
    parts = urlsplit(url)
    tls = parts.scheme == "wss"
    connect = proxied_connect(proxies, connect_tcp)
    try:
        with trio.fail_after(HANDSHAKE_SECONDS):
            stream = await connect(parts.hostname or "", parts.port or (443 if tls else 80), tls)
        await trio.aclose_forcefully(stream)
    except ConnectionLost as error:
        return [Finding("stream", "fail", f"{url} cannot be reached: {why_lost(error)}; {_ADVICE} --stream-urls.")]
    return [Finding("stream", "ok", f"{url} accepts connections")]


def _routes(settings: DaemonSettings, proxies: Proxies) -> Iterator[Finding]:
    if not proxies.by_scheme:
        yield Finding("proxy", "ok", "none: the exchange is reached directly")
        return
    for url in (*settings.rest_urls, *settings.stream_urls):
        yield Finding("proxy", "ok", f"{url} is reached {proxies.describe(url)}")


def _one_is_enough(check: str, groups: Iterable[list[Finding]]) -> Iterator[Finding]:
    """Turn a failure into a warning where another URL of the same check works: URLs are tried in turn."""
    findings = [finding for group in groups for finding in group]
    works = any(finding.check == check and finding.state == "ok" for finding in findings)
    for finding in findings:
        yield attrs.evolve(finding, state="warn") if works and finding.state == "fail" else finding
