"""Settings of the history, from the daemon's."""

from candled.config.settings import DaemonSettings
from candled.feed.registry import find_adapter
from candled.history.settings import HistorySettings


def history_settings(settings: DaemonSettings) -> HistorySettings:
    """Return the settings of the history that follow from the daemon's."""
    return HistorySettings(
        publish_delay=settings.publish_delay,
        grace=settings.superseded_grace,
        seal_delay=settings.seal_delay,
        compact_files=settings.compact_files,
        retention_days=settings.retention_days or None,
        quote_decimals=find_adapter(settings.exchange).capabilities.quote_decimals,
    )
