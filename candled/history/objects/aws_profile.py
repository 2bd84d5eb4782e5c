"""Read keys and region of an AWS profile, which the object store's library does not read itself."""

import configparser
from collections.abc import Mapping
from pathlib import Path

from candled.history.objects.errors import ObjectStoreError


def read_aws_profile(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return what a profile has of ``access_key_id``, ``secret_access_key``, ``session_token`` and ``region``.

    Variables with keys or a role come first, as in the AWS tools: then nothing is read. A profile that only names
    a role, single sign-on or a program gives no keys.

    Args:
        environment: Environment variables.
        home: The user's home directory.

    Raises:
        ObjectStoreError: ``AWS_PROFILE`` names a profile that does not exist.
    """
    if environment.get("AWS_ACCESS_KEY_ID") or environment.get("AWS_WEB_IDENTITY_TOKEN_FILE"):
        return {}
    named = environment.get("AWS_PROFILE")
    profile = named or "default"
    keys = _section(Path(environment.get("AWS_SHARED_CREDENTIALS_FILE") or home / ".aws/credentials"), profile)
    section = profile if profile == "default" else f"profile {profile}"
    config = _section(Path(environment.get("AWS_CONFIG_FILE") or home / ".aws/config"), section)
    if named and not keys and not config:
        raise ObjectStoreError(f"AWS_PROFILE names the profile {named}, which no file of AWS settings has.")
    both = {**config, **keys}
    options = {
        "access_key_id": both.get("aws_access_key_id"),
        "secret_access_key": both.get("aws_secret_access_key"),
        "session_token": both.get("aws_session_token"),
        "region": environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or both.get("region"),
    }
    return {name: value for name, value in options.items() if value}


def _section(path: Path, name: str) -> dict[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error):  # as if there were none, like the AWS tools
        return {}
    return dict(parser[name]) if name in parser else {}
