"""The list in any order, narrowed: held against the plainest way to do it."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.listing import Listing, narrowed

ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.text("abc", min_size=1, max_size=3),
            "name": st.text("ab-", max_size=4),
            "status": st.sampled_from(["running", "stopped"]),
            "customer_id": st.sampled_from(["one", "two"]),
        }
    ),
    unique_by=lambda row: row["id"],
)


@given(
    ROWS,
    st.sampled_from(["id", "name", "status"]),
    st.booleans(),
    st.sampled_from([None, "", "a", "B", "-b"]),
    st.sampled_from([None, "running"]),
    st.sampled_from([None, "one", "nobody"]),
)
def test_rows_are_as_a_plain_filter_and_sort_give_them(
    rows: list[dict[str, Any]],
    field: str,
    descending: bool,
    search: str | None,
    status: str | None,
    customer_id: str | None,
) -> None:
    found = narrowed(Listing(rows).by(field, descending=descending), search, status=status, customer_id=customer_id)

    expected = [
        row
        for row in rows
        if status in (None, row["status"])
        and customer_id in (None, row["customer_id"])
        and (search or "").lower() in row["name"]
    ]
    expected.sort(key=lambda row: (row[field], row["id"]), reverse=descending)
    assert list(found) == expected


def test_an_order_asked_for_again_is_the_same_one() -> None:
    listing = Listing([{"id": "b", "name": "x"}, {"id": "a", "name": "x"}])

    assert listing.by("name") is listing.by("name")
    assert [row["id"] for row in listing.by("name", descending=True)] == ["b", "a"]
