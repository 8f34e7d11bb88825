"""The audit trail in the table: pages over days, and ends that are told once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chalicelib.domain.audit import AuditEntry
from chalicelib.domain.words import new_id, timestamp
from chalicelib.store.audit import AuditStore
from tests.emulator import Panel

NOW = datetime.now(UTC)


def an_entry(hours_ago: float = 0, **fields: Any) -> AuditEntry:
    return AuditEntry(
        **{
            "id": new_id("aud"),
            "at": timestamp(NOW - timedelta(hours=hours_ago)),
            "token_id": "tok_a",
            "token_name": "ci",
            "role": "admin",
            "method": "POST",
            "path": "/api/services",
            "source_ip": "192.0.2.1",
            "request_id": "req_1",
            **fields,
        }
    )


@pytest.mark.parametrize("per_page", [1, 3, 7, 100])
def test_pages_go_back_over_days_without_a_gap(panel: Panel, per_page: int) -> None:
    entries = [an_entry(hours_ago=11 * n) for n in range(17)]
    for entry in entries:
        panel.audit.begin(entry)
    since = NOW - timedelta(days=30)

    pages = [panel.audit.page(since, NOW, page, per_page) for page in range(1, 17 // per_page + 2)]

    assert [entry.id for found, _ in pages for entry in found] == [entry.id for entry in entries]
    assert {total for _, total in pages} == {17}


def test_a_range_holds_both_its_ends(panel: Panel) -> None:
    for hours in range(60):
        panel.audit.begin(an_entry(hours_ago=hours))

    found, total = panel.audit.page(NOW - timedelta(hours=40), NOW - timedelta(hours=20), 1, 100)

    assert total == len(found) == 21


def test_one_tokens_lines_are_counted_and_paged_alone(panel: Panel) -> None:
    for hours in range(0, 60, 2):
        panel.audit.begin(an_entry(hours_ago=hours))
        panel.audit.begin(an_entry(hours_ago=hours + 0.5, token_id="tok_b"))

    found, total = panel.audit.page(NOW - timedelta(days=9), NOW, 2, 20, token_id="tok_b")

    assert total == 30
    assert [entry.token_id for entry in found] == ["tok_b"] * 10


def test_an_end_is_told_once(panel: Panel) -> None:
    entry = an_entry()
    panel.audit.begin(entry)

    panel.audit.end(entry.model_copy(update={"status": 201}))
    panel.audit.end(entry.model_copy(update={"status": 500}))

    (kept,), total = panel.audit.page(NOW - timedelta(days=1), NOW, 1, 10)
    assert (kept.status, total) == (201, 1)


def test_a_line_past_its_time_is_not_shown_though_it_is_still_there(panel: Panel) -> None:
    panel.audit.begin(an_entry(hours_ago=49))
    panel.audit.begin(an_entry(hours_ago=1))

    found, total = AuditStore(panel.table, days_kept=2).page(NOW - timedelta(days=30), NOW, 1, 10)

    assert total == len(found) == 1
