"""Migrations go forward, one after the other, and do no harm when they are run again."""

import random

import pytest

from chalicelib.domain.words import new_id
from chalicelib.store import shards
from chalicelib.store.services import ServiceStore
from chalicelib.store.table import Table, delete, put
from infra import migrate
from infra.migrate import Migration, TooNew
from tests import many
from tests.emulator import Panel


class Noted:
    def __init__(self) -> None:
        self.ran: list[int] = []

    def migration(self, to: int, fails: bool = False) -> Migration:
        def run(table: Table) -> None:
            self.ran.append(to)
            if fails:
                raise RuntimeError("cut off")

        return Migration(to, f"to {to}", run)


def test_a_table_that_no_release_has_migrated_gets_all_in_order(panel: Panel) -> None:
    noted = Noted()

    reached = migrate.migrate(panel.table, (noted.migration(1), noted.migration(2)))

    assert reached == noted.ran == [1, 2]
    assert migrate.version(panel.table) == 2


def test_what_was_done_is_not_done_again(panel: Panel) -> None:
    noted = Noted()
    steps = (noted.migration(1), noted.migration(2))
    migrate.migrate(panel.table, steps)

    assert migrate.migrate(panel.table, steps) == []
    assert migrate.migrate(panel.table, (*steps, noted.migration(3))) == [3]
    assert noted.ran == [1, 2, 3]


def test_a_migration_that_was_cut_off_is_run_again(panel: Panel) -> None:
    noted = Noted()
    with pytest.raises(RuntimeError):
        migrate.migrate(panel.table, (noted.migration(1), noted.migration(2, fails=True)))

    assert migrate.version(panel.table) == 1
    assert migrate.migrate(panel.table, (noted.migration(1), noted.migration(2))) == [2]


def test_a_table_of_a_later_release_is_left_alone(panel: Panel) -> None:
    panel.table.write(put(("SCHEMA", "VERSION"), {"version": 3}))

    with pytest.raises(TooNew, match="version 3 and this release knows 1"):
        migrate.migrate(panel.table, (Noted().migration(1),))


def test_a_table_from_before_there_was_a_list_gets_one(panel: Panel) -> None:
    made = many.services(5, random.Random(2), [new_id("cust")], [new_id("host")])
    many.store(panel.table, panel.client("dynamodb"), panel.table._name, made)
    before = panel.services.rows()
    for row in before:
        panel.table.write(delete((f"DIR#{shards.number_of(row['id']):03d}", "ROWS")))

    migrate.migrate(panel.table)

    assert ServiceStore(panel.table).rows() == before


def test_versions_and_reasons_are_in_order() -> None:
    assert [each.to for each in migrate.MIGRATIONS] == list(range(1, len(migrate.MIGRATIONS) + 1))
    assert all(each.why for each in migrate.MIGRATIONS)
