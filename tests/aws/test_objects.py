"""What is put into S3 is got again by its key, until it is replaced."""

from typing import Any

import pytest

from chalicelib.aws.objects import Objects
from chalicelib.domain.errors import Unavailable
from tests.emulator import Panel

NAMES = ["plain", "a/b c/ü+%2F&<x>.json", "x" * 1024, "..", "a//b/"]


@pytest.mark.parametrize("key", NAMES)
def test_an_object_comes_back_as_it_was_put(panel: Panel, key: str) -> None:
    content = b"\x00line\n{}\n\xff" * 1000

    panel.objects.put(key, b"before", "text/plain")
    panel.objects.put(key, content, "application/octet-stream")

    assert panel.objects.get(key) == content
    assert panel.objects.list("") == [key]


def test_an_empty_object_is_something(panel: Panel) -> None:
    panel.objects.put("empty", b"", "text/plain")

    assert panel.objects.get("empty") == b""
    assert panel.objects.get("missing") is None


def test_more_keys_than_a_page_holds_are_all_listed_in_order(panel: Panel) -> None:
    keys = [f"tails/{number:04}" for number in range(1005)]
    for key in reversed([*keys, "other"]):
        panel.objects.put(key, b"", "text/plain")

    assert panel.objects.list("tails/") == keys


def test_what_s3_refuses_is_unavailable(panel: Panel) -> None:
    elsewhere = Objects(panel.client("s3"), "nobodys-bucket")

    for asked in (
        lambda: elsewhere.put("a", b"", "text/plain"),
        lambda: elsewhere.get("a"),
        lambda: elsewhere.list(""),
    ):
        with pytest.raises(Unavailable, match="NoSuchBucket"):
            _ = asked()


def test_s3_that_does_not_answer_is_unavailable(panel: Panel) -> None:
    nowhere: Any = Panel("http://127.0.0.1:1").client("s3")

    with pytest.raises(Unavailable, match="no answer"):
        Objects(nowhere, "b").get("a")
