"""The table's client: what it stores comes back as it was, and a failed condition writes nothing."""

import pytest

from chalicelib.domain.errors import Unavailable
from chalicelib.store.table import Lost, Table, check, delete, put, update
from tests.emulator import Panel


def test_what_is_stored_comes_back_as_it_was(panel: Panel) -> None:
    item = {"text": "é\n", "number": 7, "flag": True, "bytes": b"\0\1", "list": [1, {"a": None}], "empty": ""}

    panel.table.write(put(("P", "S"), item))

    assert panel.table.get(("P", "S")) == {"pk": "P", "sk": "S", **item}


def test_a_transaction_whose_condition_fails_writes_nothing_and_says_which(panel: Panel) -> None:
    panel.table.write(put(("P", "taken"), {"n": 1}))

    with pytest.raises(Lost) as caught:
        panel.table.transact(
            put(("P", "new"), {"n": 2}),
            put(("P", "taken"), {"n": 3}, "attribute_not_exists(pk)"),
            check(("P", "other"), "attribute_exists(pk)"),
        )

    assert caught.value.failed == (1, 2)
    assert panel.table.get(("P", "new")) is None
    assert panel.table.get(("P", "taken")) == {"pk": "P", "sk": "taken", "n": 1}


def test_an_update_changes_only_what_it_names(panel: Panel) -> None:
    panel.table.write(put(("P", "S"), {"status": "queued", "n": 1, "kept": "yes"}))

    after = panel.table.write(
        update(
            ("P", "S"),
            {"status": "running"},
            "#status = :queued",
            expressions=("n = n + :one",),
            one=1,
            queued="queued",
        )
    )

    assert after == {"pk": "P", "sk": "S", "status": "running", "n": 2, "kept": "yes"}


def test_a_query_walks_every_page(panel: Panel) -> None:
    for number in range(8):
        panel.table.write(put(("P", f"K#{number}"), {"blob": b"x" * 300_000}))

    found = [item["sk"] for item in panel.table.query("P", "K#", newest_first=True)]

    assert found == [f"K#{number}" for number in reversed(range(8))]
    assert panel.table.count("P", "K#") == 8


def test_items_are_got_by_the_hundred_and_more(panel: Panel) -> None:
    keys = [("P", f"{number:03d}") for number in range(130)]
    for key in keys:
        panel.table.write(put(key, {"n": 1}))

    assert panel.table.get_many([*keys, ("P", "none")]).keys() == set(keys)


def test_a_deleted_item_is_gone(panel: Panel) -> None:
    panel.table.write(put(("P", "S"), {}))

    panel.table.write(delete(("P", "S")))

    assert panel.table.get(("P", "S")) is None


def test_a_table_that_is_not_there_is_unavailable_not_a_traceback(panel: Panel) -> None:
    with pytest.raises(Unavailable, match="ResourceNotFoundException"):
        Table(panel.client("dynamodb"), "no-such-table").get(("P", "S"))
