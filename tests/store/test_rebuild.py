"""The list made anew: whatever was done to it, it is afterwards what the services say."""

import random

import pytest

from chalicelib.domain.words import new_id, now
from chalicelib.store import shards
from chalicelib.store.rebuild import Rebuilt
from chalicelib.store.services import ServiceStore
from chalicelib.store.table import Table, delete, put, update
from tests import many
from tests.emulator import Panel
from tests.store.test_services import a_job, added, over


@pytest.fixture
def stored(panel: Panel) -> list[str]:
    """The names of thirty services, and one that was deleted but is still being torn down."""
    made = many.services(30, random.Random(2), [new_id("cust")], [new_id("host")])
    many.store(panel.table, panel.client("dynamodb"), panel.table._name, made)
    service, job = added(panel, "gone")
    panel.services.finish(service, over(job), (), status="running")
    panel.services.begin(panel.services.get(service.id), a_job(service, "delete", fence=900_000), deleted_at=now())
    return sorted(service.name for service in made)


def names(table: Table) -> list[str]:
    return sorted(row["name"] for row in ServiceStore(table).rows())


def test_a_whole_list_is_left_as_it_is(panel: Panel, stored: list[str]) -> None:
    before = ServiceStore(panel.table).rows()

    assert panel.services.rebuild_list() == Rebuilt(services=30)
    assert ServiceStore(panel.table).rows() == before


def test_a_list_that_was_tampered_with_is_as_it_was_before(panel: Panel, stored: list[str]) -> None:
    before = ServiceStore(panel.table).rows()
    warm = ServiceStore(panel.table)
    warm.rows()
    rows = {number: shard.rows for number, shard in _filled(panel).items()}
    lacking, renamed, haunted, damaged, deleted = list(rows)[:5]
    ghost = {**next(iter(rows[haunted].values())), "id": "svc_ghost", "name": "ghost"}
    renamed_id, renamed_row = next(iter(rows[renamed].items()))
    for number, changed in (
        (lacking, {}),
        (renamed, {**rows[renamed], renamed_id: {**renamed_row, "name": "other"}}),
        (haunted, {**rows[haunted], "svc_ghost": ghost}),
    ):
        panel.table.transact(*shards.read(panel.table, number).with_rows(changed).writes())
    panel.table.write(update((f"DIR#{damaged:03d}", "ROWS"), {"packed": b"?"}))
    panel.table.write(delete((f"DIR#{deleted:03d}", "ROWS")))

    rebuilt = panel.services.rebuild_list()

    assert ServiceStore(panel.table).rows() == warm.rows() == before
    assert rebuilt == Rebuilt(
        services=30,
        missing=len(rows[lacking]) + len(rows[damaged]) + len(rows[deleted]),
        wrong=1,
        left_over=1,
        shards_written=5,
    )
    assert panel.services.rebuild_list() == Rebuilt(services=30)


def test_a_list_is_made_where_there_was_none(panel: Panel, stored: list[str]) -> None:
    for number in range(shards.SHARDS):
        panel.table.write(delete((f"DIR#{number:03d}", "ROWS")))
    for item in list(panel.table.query("DIR")):
        panel.table.write(delete((item["pk"], item["sk"])))
    assert names(panel.table) == []

    assert panel.services.rebuild_list().missing == 30
    assert names(panel.table) == stored


@pytest.mark.parametrize("count", [16, 100])
def test_a_list_with_another_number_of_shards_is_made_of_the_old_one(
    panel: Panel, stored: list[str], count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARDS", count)

    panel.services.rebuild_list()

    assert names(panel.table) == stored
    assert all(
        shards.number_of(service_id) == number for number, shard in _filled(panel).items() for service_id in shard.rows
    )


def test_a_service_written_during_the_rebuild_is_kept(panel: Panel, stored: list[str]) -> None:
    """Someone adds one to the shard that is just being put right."""
    number = next(iter(_filled(panel)))
    panel.table.transact(*shards.read(panel.table, number).with_rows({}).writes())
    late = next(name for name in (new_id("svc") for _ in range(10_000)) if shards.number_of(name) == number)
    service, _ = added(panel, "template-of-the-late-one")
    item = panel.table.get((f"SVC#{service.id}", "META")) or {}

    class Interrupted(Table):
        def transact(self, *writes: object) -> None:
            if panel.table.get((f"SVC#{late}", "META")) is None:
                row = {**item, "id": late, "name": "late", "pk": f"SVC#{late}"}
                panel.table.write(put((f"SVC#{late}", "META"), row))
                fields = {field: row.get(field) for field in _fields(panel)}
                panel.table.transact(*shards.read(panel.table, number).changed(late, fields).writes())
            panel.table.transact(*writes)  # type: ignore[arg-type]

    rebuilt = ServiceStore(Interrupted(panel.client("dynamodb"), panel.table._name)).rebuild_list()

    assert names(panel.table) == sorted([*stored, "late", "template-of-the-late-one"])
    assert rebuilt.services == 32


def _filled(panel: Panel) -> dict[int, shards.Shard]:
    read = shards.read_many(panel.table, range(200), consistent=True)
    return {number: shard for number, shard in sorted(read.items()) if shard.rows}


def _fields(panel: Panel) -> list[str]:
    return list(panel.services.rows()[0])
