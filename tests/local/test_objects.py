"""S3 as boto3 sees it, and as a kill leaves it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from chalicelib.aws.objects import DAYS_KEPT, lifecycle
from infra.local.facade import Facade
from infra.local.objects import Objects
from tests.local.conftest import client_of

DAY_S = 86400


class Clock:
    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def s3(tmp_path: Path, clock: Clock) -> Iterator[Any]:
    with Facade() as facade:
        facade.offer_signed("s3", Objects(tmp_path, clock).answer)
        with client_of(facade, "s3") as client:
            client.create_bucket(Bucket="ours")
            yield client


def _reopened(tmp_path: Path, clock: Clock, key: str) -> Any:
    with Facade() as facade:
        facade.offer_signed("s3", Objects(tmp_path, clock).answer)
        with client_of(facade, "s3") as client:
            return client.get_object(Bucket="ours", Key=key)["Body"].read()


def _code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_an_object_has_what_it_was_put_with(s3: Any) -> None:
    put = s3.put_object(Bucket="ours", Key="a b/c", Body=b"123", ContentType="text/plain")

    for got in (s3.get_object(Bucket="ours", Key="a b/c"), s3.head_object(Bucket="ours", Key="a b/c")):
        assert (got["ContentType"], got["ContentLength"], got["ETag"]) == ("text/plain", 3, put["ETag"])


def test_deleting_twice_is_as_good_as_once(s3: Any) -> None:
    s3.put_object(Bucket="ours", Key="a", Body=b"1")
    for _ in range(2):
        s3.delete_object(Bucket="ours", Key="a")

    with pytest.raises(ClientError) as refused:
        s3.get_object(Bucket="ours", Key="a")
    assert _code(refused) == "NoSuchKey"
    with pytest.raises(ClientError) as refused:
        s3.head_object(Bucket="ours", Key="a")
    assert _code(refused) == "404"


def test_a_list_goes_on_where_a_page_ended(s3: Any) -> None:
    for key in ("b/ü", "a", "b/<&>", "b/1"):
        s3.put_object(Bucket="ours", Key=key, Body=b"12")

    pages = s3.get_paginator("list_objects_v2").paginate(Bucket="ours", Prefix="b/", PaginationConfig={"PageSize": 2})
    found = [[entry["Key"] for entry in page["Contents"]] for page in pages]

    assert found == [["b/1", "b/<&>"], ["b/ü"]]


def test_what_was_damaged_on_its_way_is_refused(s3: Any) -> None:
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket="ours", Key="a", Body=b"1", ContentMD5="AAAAAAAAAAAAAAAAAAAAAA==")
    assert _code(refused) == "BadDigest"
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket="ours", Key="a", Body=b"1", ChecksumCRC32="AAAAAA==")
    assert _code(refused) == "BadDigest"


def test_a_key_ends_at_1024_bytes(s3: Any) -> None:
    with pytest.raises(ClientError) as refused:
        s3.put_object(Bucket="ours", Key="ü" * 513, Body=b"1")
    assert _code(refused) == "KeyTooLongError"


def test_what_is_not_offered_says_so(s3: Any) -> None:
    asking: list[Callable[[], Any]] = [
        s3.list_buckets,
        lambda: s3.copy_object(Bucket="ours", Key="a", CopySource="ours/b"),
        lambda: s3.get_object_tagging(Bucket="ours", Key="a"),
        lambda: s3.list_objects_v2(Bucket="ours", Delimiter="/"),
    ]
    for asked in asking:
        with pytest.raises(ClientError) as refused:
            asked()
        assert _code(refused) == "NotImplemented"


def test_a_bucket_is_made_once_and_by_a_name(s3: Any) -> None:
    with pytest.raises(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket="ours")
    s3.head_bucket(Bucket="ours")
    with pytest.raises(ClientError):
        s3.head_bucket(Bucket="other")


def test_objects_outlive_their_server(s3: Any, tmp_path: Path, clock: Clock) -> None:
    s3.put_object(Bucket="ours", Key="a/b", Body=b"one\ntwo")

    assert _reopened(tmp_path, clock, "a/b") == b"one\ntwo"


def test_what_a_kill_left_half_written_is_as_if_it_never_came(s3: Any, tmp_path: Path, clock: Clock) -> None:
    s3.put_object(Bucket="ours", Key="a", Body=b"before")
    (whole,) = (tmp_path / "ours" / "objects").iterdir()
    whole.with_name(f"{whole.name}.new").write_bytes(b'{"key": "a", "con')

    assert _reopened(tmp_path, clock, "a") == b"before"
    assert list((tmp_path / "ours" / "objects").iterdir()) == [whole]


def test_objects_expire_by_the_buckets_rule(s3: Any, tmp_path: Path, clock: Clock) -> None:
    s3.put_bucket_lifecycle_configuration(Bucket="ours", LifecycleConfiguration=lifecycle())
    s3.put_object(Bucket="ours", Key="old", Body=b"1")
    clock.now += (DAYS_KEPT - 1) * DAY_S
    s3.put_object(Bucket="ours", Key="young", Body=b"2")
    assert s3.list_objects_v2(Bucket="ours")["KeyCount"] == 2

    clock.now += DAY_S

    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="ours")["Contents"]] == ["young"]
    assert _reopened(tmp_path, clock, "young") == b"2"
    assert s3.get_bucket_lifecycle_configuration(Bucket="ours")["Rules"][0]["Expiration"] == {"Days": DAYS_KEPT}


def test_a_lifecycle_that_does_more_than_expire_is_refused(s3: Any) -> None:
    rule = {"Status": "Enabled", "Filter": {"Prefix": ""}, "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}
    with pytest.raises(ClientError) as refused:
        s3.put_bucket_lifecycle_configuration(Bucket="ours", LifecycleConfiguration={"Rules": [rule]})
    assert _code(refused) == "MalformedXML"
