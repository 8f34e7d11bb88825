"""The operator's command on a stopped one-machine installation."""

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chalicelib.domain.words import new_id
from chalicelib.store import shards
from chalicelib.store.services import ServiceStore
from chalicelib.store.table import Table, definition, delete
from infra.local.cloud import PROJECT, TABLE
from infra.local.dynamodb import DynamoDB
from infra.local.facade import Facade
from infra.local.runner import _state
from tests import many
from tests.local.conftest import client_of


def rebuild(state: Path) -> "subprocess.CompletedProcess[str]":
    words = [sys.executable, "-m", "infra.rebuild_list", "--state", str(state)]
    return subprocess.run(words, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)


@contextmanager
def opened(state: Path) -> Iterator[Any]:
    database = DynamoDB(state / "dynamodb")
    with Facade() as facade:
        facade.offer("DynamoDB_20120810", database.answer)
        with client_of(facade, "dynamodb") as client:
            yield client
    database.close()


def test_a_lost_list_is_back_after_the_command(tmp_path: Path) -> None:
    with opened(tmp_path) as client:
        client.create_table(**definition(TABLE))
        table = Table(client, TABLE)
        many.store(table, client, TABLE, many.services(9, random.Random(1), [new_id("cust")], [new_id("host")]))
        for number in range(shards.SHARDS):
            table.write(delete((f"DIR#{number:03d}", "ROWS")))

    done = rebuild(tmp_path)

    assert done.returncode == 0, done.stderr
    assert "services: 9, missing: 9" in done.stdout
    with opened(tmp_path) as client:
        assert len(ServiceStore(Table(client, TABLE)).rows()) == 9


def test_a_state_folder_in_use_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "dynamodb").mkdir()

    with _state(tmp_path):
        done = rebuild(tmp_path)

    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "is in use by another runner" in done.stderr


def test_a_folder_that_is_none_of_ours_is_refused_in_one_line(tmp_path: Path) -> None:
    done = rebuild(tmp_path)

    assert done.returncode == 1
    assert done.stderr == f"slipway: {tmp_path} is no state folder of Slipway\n"
