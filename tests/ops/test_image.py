"""The image as it runs: confined as in a pod, it keeps exact bars over a stop and a kill."""

import json
import re
import signal
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from grpclib.health.v1 import health_pb2  # grpcio's own module of the same file cannot live beside it

from tests.ops.conftest import K8S, render
from tests.ops.play_kube import playable
from tests.ops.podman import (
    CONFINED,
    ROOT,
    container,
    image_under_test,
    inspect,
    logs,
    network,
    no_volume_left,
    podman,
    podman_exec,
    published,
    volume,
)
from tests.ports import free_ports

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OPERATIONS = ROOT / "docs" / "operations.md"

SPEED = "20"
"""Of the exchange's clock: a minute lasts three seconds."""

MEGABYTES_MAX = 240
"""Of the whole image; docs/cluster.md lists what takes it."""


@pytest.fixture(scope="module")
def image() -> str:
    return image_under_test()


@pytest.fixture(scope="module")
def net(image: str) -> Iterator[str]:
    with network("candled-test") as name:
        yield name


@pytest.fixture(scope="module")
def exchange(image: str, net: str) -> Iterator[str]:
    options = ["--network", net, "--publish", "127.0.0.1::9443", *CONFINED]
    with container(
        "test-exchange", *options, image, "exchange", "--address", "0.0.0.0:9443", "--speed", SPEED
    ) as name:
        eventually(lambda: get(f"http://{published(name, 9443)}/api/v3/time"))
        yield name


def daemon_options(net: str, data: str) -> list[str]:
    return [
        *CONFINED,
        *("--network", net, "--volume", f"{data}:/var/lib/candled"),
        *(
            "--env",
            "CANDLED_STREAM_URLS=ws://test-exchange:9443",
            "--env",
            "CANDLED_REST_URLS=http://test-exchange:9443",
        ),
        *("--publish", "127.0.0.1::50051", "--publish", "127.0.0.1::8080"),
    ]


def get(url: str) -> str | None:
    """The body of an answer that says 200, else None."""
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            body: bytes = answer.read()
            return body.decode()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return None


def eventually(look: Callable[[], Any], seconds: float = 100) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        result = look()
        if result:
            return result
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)


def ready(name: str) -> str | None:
    return get(f"http://{published(name, 8080)}/readyz")


def stored_bars(name: str) -> list[dict[str, Any]]:
    query = "SELECT * FROM bars WHERE interval = '1m' ORDER BY symbol, open_time"
    bars: list[dict[str, Any]] = json.loads(podman("exec", name, "candled", "sql", "--format", "json", query))
    return bars


def klines(exchange: str, symbol: str, start: int) -> dict[int, list[Any]]:
    """The exchange's own bars by open time from ``start`` on, made without candled's aggregator."""
    query = f"symbol={symbol}&interval=1m&limit=1000&startTime={start}"
    url = f"http://{published(exchange, 9443)}/api/v3/klines?{query}"
    return {row[0]: row for row in json.loads(eventually(lambda: get(url)))}


def milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


COLUMNS = {
    "open": 1,
    "high": 2,
    "low": 3,
    "close": 4,
    "volume": 5,
    "quote_volume": 7,
    "trade_count": 8,
    "taker_buy_volume": 9,
    "taker_buy_quote_volume": 10,
}
"""Where a kline has what a bar calls so."""


def assert_equal_to_the_exchange(bars: list[dict[str, Any]], exchange: str) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT", "PEPEUSDT"):
        own = [bar for bar in bars if bar["symbol"] == symbol]
        times = [milliseconds(bar["open_time"]) for bar in own]
        theirs = klines(exchange, symbol, times[0])
        assert times == list(range(times[0], times[0] + 60_000 * len(times), 60_000)), (
            "a minute is missing or doubled"
        )
        for bar, open_time in zip(own, times, strict=True):
            if bar["complete"]:
                assert {name: Decimal(bar[name]) for name in COLUMNS} == {
                    name: Decimal(theirs[open_time][place]) for name, place in COLUMNS.items()
                }


def proven_bars(name: str) -> list[dict[str, Any]] | None:
    """The stored bars, once all but the newest of each symbol, which wait for a later trade, are complete."""
    bars = stored_bars(name)
    own = ([bar for bar in bars if bar["symbol"] == symbol] for symbol in ("BTCUSDT", "ETHUSDT", "PEPEUSDT"))
    return bars if all(len(o) > 5 and all(bar["complete"] for bar in o[:-5]) for o in own) else None


def test_bars_stay_exact_over_a_stop_and_a_kill(image: str, net: str, exchange: str) -> None:
    with volume("candled-test") as data, container("daemon", *daemon_options(net, data), image) as daemon:
        eventually(lambda: ready(daemon))
        eventually(lambda: len(stored_bars(daemon)) >= 12)

        began = time.monotonic()
        podman("stop", "--time", "20", daemon)
        assert time.monotonic() - began < 10
        assert inspect(daemon)["State"]["ExitCode"] == 0

        podman("start", daemon)
        before = len(eventually(lambda: ready(daemon) and stored_bars(daemon)))
        eventually(lambda: len(stored_bars(daemon)) >= before + 9)

        podman("kill", "--signal", "KILL", daemon)
        podman("wait", daemon)
        podman("start", daemon)
        eventually(lambda: ready(daemon))
        eventually(lambda: len(stored_bars(daemon)) >= before + 18)

        # What the daemon was away for is fetched, stored and proven in the background.
        assert_equal_to_the_exchange(eventually(lambda: proven_bars(daemon)), exchange)


def test_a_running_daemon_answers_every_probe(image: str, net: str, exchange: str) -> None:
    with volume("candled-probes") as data, container("probes", *daemon_options(net, data), image) as daemon:
        http = f"http://{published(daemon, 8080)}"
        eventually(lambda: get(f"{http}/healthz"))
        eventually(lambda: ready(daemon))
        with grpc.insecure_channel(published(daemon, 50051)) as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            request = health_pb2.HealthCheckRequest(service="candled.v1.CandleService")
            # The service's health is looked up once a second, so it may come a moment after readiness.
            serving = health_pb2.HealthCheckResponse.SERVING
            eventually(lambda: check(request, timeout=10).status == serving, 10)
        assert "candled_build_info" in (get(f"{http}/metrics") or "")
        podman("healthcheck", "run", daemon)


def test_a_second_daemon_on_a_volume_is_refused(image: str, net: str, exchange: str) -> None:
    with volume("candled-lock") as data, container("first", *daemon_options(net, data), image) as first:
        eventually(lambda: ready(first))
        with container("second", *daemon_options(net, data), image) as second:
            assert int(podman("wait", second)) != 0
            assert "Traceback" not in logs(second)
            assert "another" in logs(second)
        assert ready(first)


def test_daemon_without_an_exchange_is_not_ready(image: str, net: str) -> None:
    nobody = ("--env", "CANDLED_STREAM_URLS=ws://nobody:9443", "--env", "CANDLED_REST_URLS=http://nobody:9443")
    with volume("candled-alone") as data, container("alone", *daemon_options(net, data), *nobody, image) as alone:
        http = f"http://{published(alone, 8080)}"
        eventually(lambda: get(f"{http}/healthz"))
        with pytest.raises(urllib.error.HTTPError, match="503") as answer:
            urllib.request.urlopen(f"{http}/readyz", timeout=5)
        assert answer.value.read().strip()


def test_exchange_ends_on_sigterm(image: str, net: str) -> None:
    with container("stopping", *CONFINED, image, "exchange", "--address", "0.0.0.0:9443") as stopping:
        eventually(lambda: "streams at" in logs(stopping))
        podman("stop", "--time", "20", stopping)
        assert inspect(stopping)["State"]["ExitCode"] == 0


def test_starting_command_ends_on_sigterm(image: str) -> None:
    # The system drops what its first process has not asked for, and imports take a while before work begins.
    script = "import time; from candled.cli.main import main; main.callback(); "
    script += "print('waiting', flush=True); time.sleep(60)"
    with container("hasty", *CONFINED, "--entrypoint", "python3", image, "-c", script) as hasty:
        eventually(lambda: "waiting" in logs(hasty))
        podman("stop", "--time", "20", hasty)
        assert inspect(hasty)["State"]["ExitCode"] == 128 + signal.SIGTERM


@contextmanager
def played(file: Path, net: str) -> Iterator[None]:
    podman("play", "kube", "--network", net, str(file))
    try:
        yield
    finally:
        podman("play", "kube", "--down", str(file), check=False)


EXACT = ["symbol", "open_time", "open", "high", "low", "close", "volume", "trade_count", "last_trade_id"]
"""What of a bar must not change over a restart; a later proof or repair may make it complete."""


def exact_values(bars: list[dict[str, Any]]) -> set[tuple[Any, ...]]:
    return {tuple(bar[name] for name in EXACT) for bar in bars if bar["complete"]}


def documented(beginning: str) -> str:
    """The command of docs/operations.md that begins so, without what leads into the pod and what follows it."""
    (command,) = set(re.findall(rf"-- ({beginning}.*?)(?: [<>|] \S+)?$", OPERATIONS.read_text(), re.MULTILINE))
    return str(command)


def write(file: Path, objects: list[Any]) -> Path:
    file.write_text(yaml.safe_dump_all(objects))
    return file


def test_the_pods_of_the_manifests_run_and_restore_their_history(image: str, tmp_path: Path) -> None:
    shell = list(yaml.safe_load_all((K8S / "volume-shell.yaml").read_text()))
    objects = playable(
        [*yaml.safe_load_all(render(K8S / "overlays" / "kind")), *shell], image, lambda: free_ports(1)[0]
    )
    claims = [thing for thing in objects if thing["kind"] == "PersistentVolumeClaim"]
    pods = {thing["metadata"]["name"]: thing for thing in objects if thing["kind"] == "Pod"}
    pods["candled-exchange"]["spec"]["containers"][0]["args"] += ["--speed", SPEED]
    exchange = write(tmp_path / "exchange.yaml", [pods["candled-exchange"]])
    first = write(tmp_path / "first.yaml", [*claims, pods["candled-0"]])
    # podman makes the volume of a claim, but refuses one that is there already.
    second = write(tmp_path / "second.yaml", [pods["candled-0"]])
    restore = write(tmp_path / "restore.yaml", [*claims, pods["volume-shell"]])
    daemon, archive = "candled-0-candled", tmp_path / "candled-0.tar"

    with network("candled-play") as net, played(exchange, net):
        with no_volume_left("data-candled-0"):
            with played(first, net):
                state = inspect(daemon)
                assert state["HostConfig"]["ReadonlyRootfs"]
                assert not state["EffectiveCaps"]
                assert state["Config"]["User"] == "10001:10001"
                eventually(lambda: ready(daemon))
                eventually(lambda: len(exact_values(stored_bars(daemon))) >= 6)
                podman_exec(daemon, documented("tar --create .*exclude"), output=archive)
                stored = exact_values(stored_bars(daemon))
            with played(second, net):
                eventually(lambda: ready(daemon))
                assert exact_values(stored_bars(daemon)) >= stored
        with no_volume_left("data-candled-0"):
            with played(restore, net):
                podman_exec("volume-shell-shell", documented("sh -c 'cd"))
                podman_exec("volume-shell-shell", documented("tar --extract"), input_=archive)
            with played(second, net):
                eventually(lambda: ready(daemon))
                # What was not in a file at the time of the backup is fetched from the exchange.
                eventually(lambda: exact_values(stored_bars(daemon)) >= stored)


def test_programs_that_the_documents_call_in_a_pod_are_in_the_image(image: str) -> None:
    called = set(re.findall(r"kubectl exec (?:--stdin )?[a-z-]+\d? -- (\S+)", OPERATIONS.read_text()))
    script = f"import shutil; print([name for name in {sorted(called)} if not shutil.which(name)])"

    assert {"candled", "sh", "tar"} <= called
    assert podman("run", "--rm", *CONFINED, "--entrypoint", "python3", image, "-c", script).strip() == "[]"


def test_a_signal_makes_the_daemon_read_its_settings_again(image: str, net: str, exchange: str) -> None:
    with volume("candled-hup") as data, container("hup", *daemon_options(net, data), image) as daemon:
        eventually(lambda: ready(daemon))
        podman_exec(daemon, documented("sh -c 'kill"))
        eventually(lambda: "settings reloaded" in logs(daemon))


def in_image(image: str, script: str) -> str:
    return podman("run", "--rm", *CONFINED, "--entrypoint", "sh", image, "-c", script)


def test_no_installer_and_no_compiler_is_left(image: str) -> None:
    found = in_image(
        image, "command -v pip pip3 gcc cc curl wget git; python3 -c 'import pip' 2>/dev/null && echo pip; true"
    )

    assert found == ""


def test_only_the_volume_and_tmp_can_be_written(image: str) -> None:
    found = in_image(
        image,
        "for d in / /etc /opt/candled /var/lib/candled /tmp; do (: >$d/x) 2>/dev/null && echo $d; done; true",
    )

    assert found.split() == ["/var/lib/candled", "/tmp"]


def test_no_file_grants_root(image: str) -> None:
    script = (
        "import os; print([p for d, _, names in os.walk('/') if not d.startswith(('/proc', '/sys')) for n in names"
        " if os.path.lexists(p := os.path.join(d, n)) and os.lstat(p).st_mode & 0o6000])"
    )

    assert podman("run", "--rm", *CONFINED, "--entrypoint", "python3", image, "-c", script).strip() == "[]"


def test_a_scanner_finds_the_packages(image: str) -> None:
    """Files of the distribution have their package's entry, by which a scanner knows its version."""
    script = (
        "from pathlib import Path;"
        "print([p.name for p in Path('/var/lib/dpkg/status.d').iterdir() if 'Version: ' in p.read_text()])"
    )
    found = podman("run", "--rm", *CONFINED, "--entrypoint", "python3", image, "-c", script)

    assert {"libc6", "zlib1g"} <= set(re.findall(r"'([^']+)'", found))


def test_names_are_resolved_and_certificates_trusted(image: str) -> None:
    """What a small image lacks first: name resolution, the trust store, time zones, a temporary folder."""
    script = (
        "import socket, ssl, tempfile, zoneinfo, pytz;"
        "print(socket.gethostbyname('localhost'), len(ssl.create_default_context().get_ca_certs()) > 50,"
        " zoneinfo.ZoneInfo('Asia/Tokyo'), pytz.timezone('Asia/Tokyo'), tempfile.TemporaryFile().writable())"
    )
    found = podman("run", "--rm", *CONFINED, "--entrypoint", "python3", image, "-c", script)

    assert found.strip() == "127.0.0.1 True Asia/Tokyo Asia/Tokyo True"


UNCOMPILED = """
import os, sys, candled.daemon.root
for module in list(sys.modules.values()):
    cached = getattr(module, "__cached__", None)
    if cached and cached.startswith("/opt/candled") and not os.path.exists(cached):
        print(module.__name__)
"""


def test_modules_are_compiled_beforehand(image: str) -> None:
    assert podman("run", "--rm", *CONFINED, "--entrypoint", "python3", image, "-c", UNCOMPILED) == ""


def test_labels_and_program_say_the_version_of_this_checkout(image: str) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    labels = inspect_image(image)["Labels"]

    assert labels["org.opencontainers.image.version"] == version
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert podman("run", "--rm", *CONFINED, image, "--version").strip() == f"candled {version}"


def test_image_size_stays_below_the_limit(image: str) -> None:
    assert inspect_image(image)["Size"] < MEGABYTES_MAX * 1_000_000


def inspect_image(image: str) -> dict[str, Any]:
    (content,) = json.loads(podman("image", "inspect", image))
    result: dict[str, Any] = content
    return result
