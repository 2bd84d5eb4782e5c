"""What a status says of symbols that other daemons serve."""

from candled.domain.status import DaemonStatus


def test_redirects_name_each_known_daemon() -> None:
    """Symbols of other shards get a sentence each; unknown ones get none."""
    status = DaemonStatus(
        version="0.1.0",
        start_time=0,
        exchange="stand",
        exchange_time=0,
        elsewhere={"ETHUSDT": "shard 1 at b:1", "PEPEUSDT": "shard 2"},
    )

    text = status.redirects(["ETHUSDT", "XRPUSDT", "PEPEUSDT"])

    assert text == "ETHUSDT is served by shard 1 at b:1. PEPEUSDT is served by shard 2. "
    assert status.redirects(["XRPUSDT"]) == ""
