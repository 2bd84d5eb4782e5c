"""The seam to the object store, on a folder: nothing is replaced, and errors are sentences."""

from pathlib import Path

import pytest

from candled.history.objects.aws_profile import read_aws_profile
from candled.history.objects.bucket import open_bucket
from candled.history.objects.errors import ObjectStoreError
from candled.history.objects.location import Location, parse_location
from candled.history.objects.writers import claim_epoch, newest_writer


def test_an_object_is_created_once(tmp_path: Path) -> None:
    bucket = open_bucket(tmp_path.as_uri())
    assert bucket.put("recent/a", b"first")
    assert not bucket.put("recent/a", b"second")
    assert bucket.get("recent/a") == b"first"


def test_what_is_missing_is_no_error(tmp_path: Path) -> None:
    bucket = open_bucket((tmp_path / "new").as_uri())
    assert bucket.get("recent/a") is None
    assert bucket.list("recent") == []
    bucket.delete(["recent/a"])


def test_listing_is_sorted(tmp_path: Path) -> None:
    """Keys come in order, from after a given one if asked."""
    bucket = open_bucket(tmp_path.as_uri())
    for key in ("b/2", "b/1", "b/3", "c/4"):
        bucket.put(key, b"xx")
    assert [(each.key, each.size) for each in bucket.list("b")] == [("b/1", 2), ("b/2", 2), ("b/3", 2)]
    assert [each.key for each in bucket.list("b", "b/1")] == ["b/2", "b/3"]


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ObjectStoreError, match="cannot be opened"):
        open_bucket((tmp_path / "file" / "folder").as_uri())


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("s3://bucket/a/b/", Location("s3", "bucket", "a/b")),
        ("gs://bucket", Location("gs", "bucket", "")),
        ("az://container/x", Location("az", "container", "x")),
        ("file:///a%20b/c/", Location("file", "", "/a b/c")),
    ],
)
def test_urls_name_a_bucket_and_a_prefix(url: str, location: Location) -> None:
    assert parse_location(url) == location


@pytest.mark.parametrize(
    "url",
    ["s3://", "bucket/a", "http://host/a", "file://host/a", "file:///", "s3://user:key@bucket/a", "s3://b/a?x"],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ObjectStoreError, match="The URL of the history"):
        open_bucket(url)


def test_only_one_process_gets_an_epoch(tmp_path: Path) -> None:
    """A second try of the same process, whose first answer was lost, counts as its own."""
    bucket = open_bucket(tmp_path.as_uri())
    assert newest_writer(bucket) == 0
    assert claim_epoch(bucket, 3, "this")
    assert not claim_epoch(bucket, 3, "other")
    assert claim_epoch(bucket, 3, "this")
    assert newest_writer(bucket) == newest_writer(bucket, 3) == 3


def profile(tmp_path: Path, **environment: str) -> dict[str, str]:
    folder = tmp_path / ".aws"
    folder.mkdir(exist_ok=True)
    (folder / "credentials").write_text(
        "[default]\naws_access_key_id = A\naws_secret_access_key = B%c\n"
        "[other]\naws_access_key_id = C\naws_secret_access_key = D\naws_session_token = E\n"
    )
    (folder / "config").write_text("[default]\nregion = eu-west-1\n[profile other]\nregion = eu-north-1\n")
    return read_aws_profile(environment, tmp_path)


def test_keys_come_from_the_default_profile(tmp_path: Path) -> None:
    assert profile(tmp_path) == {"access_key_id": "A", "secret_access_key": "B%c", "region": "eu-west-1"}


def test_a_profile_can_be_named(tmp_path: Path) -> None:
    found = profile(tmp_path, AWS_PROFILE="other", AWS_REGION="us-west-2")
    assert found == {
        "access_key_id": "C",
        "secret_access_key": "D",
        "session_token": "E",
        "region": "us-west-2",
    }


def test_keys_in_the_environment_come_first(tmp_path: Path) -> None:
    assert profile(tmp_path, AWS_ACCESS_KEY_ID="X") == {}
    assert profile(tmp_path, AWS_WEB_IDENTITY_TOKEN_FILE="/token") == {}


def test_an_unknown_profile_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ObjectStoreError, match="the profile nobody"):
        profile(tmp_path, AWS_PROFILE="nobody")


def test_no_profile_at_all_is_none(tmp_path: Path) -> None:
    """Then the library asks the machine's metadata service."""
    assert read_aws_profile({}, tmp_path) == {}
