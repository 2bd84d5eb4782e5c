"""``candled doctor``: what keeps a daemon with these settings from working, and what to do about it."""

import json
import os
import re
import resource
import shutil
import socket
import ssl
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

import attrs
import click
import httpcore
import msgspec

from candled.cli.settings_options import load_daemon_settings, settings_options
from candled.settings import DaemonSettings

_TIMEOUT_SECONDS: Final = 5.0
_TIMEOUTS: Final = dict.fromkeys(("connect", "read", "write", "pool"), _TIMEOUT_SECONDS)
_CLOCK_SECONDS_MAX: Final = 2.0
_DISK_BYTES_MIN: Final = 1_000_000_000
_OPEN_FILES_MIN: Final = 4_096
_NO_ANSWER: Final = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError)
_ADVICE: Final = "check the network, proxy and firewall, or name others with"
_ERROR_NUMBER: Final = re.compile(r"\[Errno -?\d+\] ")

State = Literal["ok", "warn", "fail"]


@attrs.frozen
class Finding:
    """What one check found."""

    check: str
    state: State
    text: str
    """What was found and, unless it is well, what to do."""


@click.command("doctor")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@settings_options(DaemonSettings)
def command(form: str, config: str | None, **options: Any) -> None:
    """Check clock, exchange, ports, disk and permissions for a daemon with these settings.

    Nothing is changed. Exit status 1 when something would keep the daemon from working.
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
    """Every check, one after the other."""
    yield _directory(settings.data_dir)
    yield _disk(settings.data_dir)
    yield _port("grpc port", settings.grpc_address, "--grpc-address")
    yield _port("http port", settings.http_address, "--http-address")
    yield _open_files()
    yield from _one_is_enough("rest", map(_rest, settings.rest_urls))
    yield from _one_is_enough("stream", map(_stream, settings.stream_urls))


def _directory(path: Path) -> Finding:
    place = path.absolute()
    existing = _existing(place)
    if not existing.is_dir():
        return Finding("data dir", "fail", f"{existing} is no directory: choose another with --data-dir.")
    if not os.access(existing, os.W_OK | os.X_OK):
        text = f"{existing} is not writable for this user: change its owner, or choose another with --data-dir."
        return Finding("data dir", "fail", text)
    return Finding("data dir", "ok", f"{place} {'is writable' if existing == place else 'can be made'}")


def _disk(path: Path) -> Finding:
    place = _existing(path.absolute())
    free = shutil.disk_usage(place).free
    if free < _DISK_BYTES_MIN:
        text = f"only {free / 1e9:.2f} GB free on {place}: a year of one symbol takes 25 MB, make room in time."
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
        text = f"{address}: {error.strerror}: does a daemon run already? Else choose another with {option}."
        return Finding(check, "fail", text)
    return Finding(check, "ok", f"{address} is free")


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _OPEN_FILES_MIN:
        text = f"limit {soft}: thousands of clients need more; raise it with `ulimit -n {hard}`."
        return Finding("open files", "warn", text)
    return Finding("open files", "ok", f"limit {soft}")


class _ServerTime(msgspec.Struct):
    serverTime: int  # noqa: N815 (the exchange's word)


def _rest(url: str) -> list[Finding]:
    """Whether REST answers, and how far this machine's clock is from the exchange's."""
    try:
        before = time.time()
        with httpcore.ConnectionPool() as pool:
            answer = pool.request("GET", f"{url}/api/v3/time", extensions={"timeout": _TIMEOUTS})
        after = time.time()
        server = msgspec.json.decode(answer.content, type=_ServerTime).serverTime / 1000
    except (
        httpcore.NetworkError,
        httpcore.TimeoutException,
        httpcore.ProtocolError,
        msgspec.MsgspecError,
    ) as error:
        return [Finding("rest", "fail", f"{url} does not answer: {_reason(error)}; {_ADVICE} --rest-urls.")]
    findings = [Finding("rest", "ok", f"{url} answers in {(after - before) * 1000:.0f} ms")]
    away = server - (before + after) / 2
    if abs(away) > _CLOCK_SECONDS_MAX:
        text = f"{away:+.1f} s away from the exchange's: bars do not mind, logs and alerts do; synchronise it."
        findings.append(Finding("clock", "warn", text))
    else:
        findings.append(Finding("clock", "ok", f"{away * 1000:+.0f} ms from the exchange's"))
    return findings


def _stream(url: str) -> list[Finding]:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "wss" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=_TIMEOUT_SECONDS) as connection:
            if parts.scheme == "wss":
                ssl.create_default_context().wrap_socket(connection, server_hostname=parts.hostname).close()
    except OSError as error:
        return [Finding("stream", "fail", f"{url} cannot be reached: {_reason(error)}; {_ADVICE} --stream-urls.")]
    return [Finding("stream", "ok", f"{url} takes connections")]


def _one_is_enough(check: str, groups: Iterable[list[Finding]]) -> Iterator[Finding]:
    """URLs are tried in turn: one that fails matters less where another one works."""
    findings = [finding for group in groups for finding in group]
    works = any(finding.check == check and finding.state == "ok" for finding in findings)
    for finding in findings:
        yield attrs.evolve(finding, state="warn") if works and finding.state == "fail" else finding


def _reason(error: Exception) -> str:
    text: str = getattr(error, "strerror", None) or _ERROR_NUMBER.sub("", str(error)) or type(error).__name__
    return text.splitlines()[0].rstrip(".")
