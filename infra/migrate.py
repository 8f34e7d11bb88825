"""Bringing a table to the form that this release expects: `python -m infra.migrate`.

Versioned, forward only, each safe to repeat, and written so that the release before can go on with what it left: a
deploy migrates first and changes the functions then. The table itself says its version; a migration that was cut off
is run again.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass

from chalicelib.domain.errors import SlipwayError
from chalicelib.store.services import ServiceStore
from chalicelib.store.table import Lost, Table, put
from chalicelib.wiring import adapters

_VERSION = ("SCHEMA", "VERSION")


class TooNew(Exception):
    """The table was migrated by a newer release than this one."""


@dataclass(frozen=True)
class Migration:
    to: int
    why: str
    run: Callable[[Table], object]


def _make_the_list(table: Table) -> object:
    return ServiceStore(table).rebuild_list()


MIGRATIONS = (
    Migration(1, "the list of services is made from the services, in tables from before there was one", _make_the_list),
)


def version(table: Table) -> int:
    """0 for a table that no release with migrations has seen."""
    item = table.get(_VERSION)
    return int(item["version"]) if item else 0


def pending(table: Table, migrations: tuple[Migration, ...] = MIGRATIONS) -> list[Migration]:
    """Raise `TooNew` for a table of a later release."""
    present = version(table)
    latest = migrations[-1].to
    if present > latest:
        raise TooNew(
            f"the table is of version {present} and this release knows {latest}: deploy a release as new as the table"
        )
    return [each for each in migrations if each.to > present]


def migrate(table: Table, migrations: tuple[Migration, ...] = MIGRATIONS) -> list[int]:
    """Run what is pending, in order; which versions were reached. Two at once do no harm: one of them stops."""
    reached = []
    for migration in pending(table, migrations):
        before = version(table)
        migration.run(table)
        attributes = {"version": migration.to}
        if before:
            write = put(_VERSION, attributes, "version = :before", before=before)
        else:
            write = put(_VERSION, attributes, "attribute_not_exists(pk)")
        table.write(write)
        reached.append(migration.to)
    return reached


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.migrate", description=__doc__)
    parser.add_argument("--plan", action="store_true", help="only tell what would be done")
    arguments = parser.parse_args()
    table = adapters().table
    try:
        for each in pending(table):
            print(f"version {each.to}: {each.why}")
        if not arguments.plan:
            migrate(table)
    except Lost:
        print("slipway: another migration ran meanwhile; look again", file=sys.stderr)
        return 1
    except (SlipwayError, TooNew) as error:
        print(f"slipway: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
