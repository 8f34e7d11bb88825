"""The embedded DynamoDB: what a write left survives a kill, and the conditions Slipway stands on hold."""

import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from infra.local.dynamodb import DynamoDB
from infra.local.facade import Facade
from tests.local.conftest import client_of

TABLE = "things"


@contextmanager
def opened(folder: Path) -> Iterator[Any]:
    database = DynamoDB(folder)
    with Facade() as facade:
        facade.offer("DynamoDB_20120810", database.answer)
        with client_of(facade, "dynamodb") as client:
            yield client
    database.close()


@contextmanager
def killed(folder: Path) -> Iterator[Any]:
    """As `opened`, but the folder afterwards is what a kill would have left: nothing is closed or compacted."""
    database = DynamoDB(folder)
    with Facade() as facade:
        facade.offer("DynamoDB_20120810", database.answer)
        with client_of(facade, "dynamodb") as client:
            yield client
    database._closing.set()
    database._upkeep.join()
    database._journal.close()


def make_table(client: Any) -> None:
    client.create_table(
        TableName=TABLE,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    )
    client.update_time_to_live(TableName=TABLE, TimeToLiveSpecification={"Enabled": True, "AttributeName": "expires"})


def key(sort: str) -> dict[str, Any]:
    return {"pk": {"S": "p"}, "sk": {"S": sort}}


def put(sort: str, **more: Any) -> dict[str, Any]:
    return {"Put": {"TableName": TABLE, "Item": {**key(sort), **more}}}


def count(sort: str) -> dict[str, Any]:
    update = {
        "TableName": TABLE,
        "Key": key(sort),
        "UpdateExpression": "ADD n :one",
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    return {"Update": update}


def everything(client: Any) -> dict[str, Any]:
    return {item["sk"]["S"]: item for item in client.scan(TableName=TABLE)["Items"]}


@pytest.mark.parametrize("how", [opened, killed])
def test_every_kind_of_write_is_there_after_a_restart(tmp_path: Path, how: Any) -> None:
    with how(tmp_path) as client:
        make_table(client)
        client.put_item(TableName=TABLE, Item={**key("put"), "data": {"B": b"\x00\xff"}, "set": {"SS": ["a", "b"]}})
        for _ in range(3):
            client.update_item(**count("updated")["Update"])
        client.put_item(TableName=TABLE, Item=key("deleted"))
        client.delete_item(TableName=TABLE, Key=key("deleted"))
        writes = [{"PutRequest": {"Item": key(f"batch{n}")}} for n in range(3)]
        client.batch_write_item(RequestItems={TABLE: writes})
        client.batch_write_item(RequestItems={TABLE: [{"DeleteRequest": {"Key": key("batch0")}}]})
        client.transact_write_items(TransactItems=[put("moved", n={"N": "1"}), count("updated")])
        before = everything(client)

    with opened(tmp_path) as client:
        assert everything(client) == before
        assert before["updated"]["n"] == {"N": "4"}
        assert sorted(before) == ["batch1", "batch2", "moved", "put", "updated"]
        ttl = client.describe_time_to_live(TableName=TABLE)["TimeToLiveDescription"]
        assert ttl == {"TimeToLiveStatus": "ENABLED", "AttributeName": "expires"}


def test_a_refused_write_leaves_nothing_behind(tmp_path: Path) -> None:
    with killed(tmp_path) as client:
        make_table(client)
        client.put_item(TableName=TABLE, Item=key("taken"))
        guarded = put("taken")
        guarded["Put"]["ConditionExpression"] = "attribute_not_exists(pk)"
        with pytest.raises(ClientError) as refused:
            client.transact_write_items(TransactItems=[put("other"), guarded])
        assert [reason["Code"] for reason in refused.value.response["CancellationReasons"]] == [
            "None",
            "ConditionalCheckFailed",
        ]
    with opened(tmp_path) as client:
        assert list(everything(client)) == ["taken"]


def test_a_request_token_counts_once_also_across_a_restart(tmp_path: Path) -> None:
    with killed(tmp_path) as client:
        make_table(client)
        for _ in range(2):
            client.transact_write_items(TransactItems=[count("c")], ClientRequestToken="once")
    for how in (opened, opened):  # the first restart replays the log, the second the snapshot
        with how(tmp_path) as client:
            client.transact_write_items(TransactItems=[count("c")], ClientRequestToken="once")
            assert everything(client)["c"]["n"] == {"N": "1"}


def test_a_table_deleted_and_made_again_is_empty_after_a_restart(tmp_path: Path) -> None:
    with killed(tmp_path) as client:
        make_table(client)
        client.put_item(TableName=TABLE, Item=key("old"))
        client.delete_table(TableName=TABLE)
        make_table(client)
        client.put_item(TableName=TABLE, Item=key("new"))
    with opened(tmp_path) as client:
        assert list(everything(client)) == ["new"]
    with opened(tmp_path) as client:
        assert list(everything(client)) == ["new"]


def test_malformed_requests_are_refused_and_do_no_harm(tmp_path: Path) -> None:
    hostile: list[bytes] = [
        b"",
        b"[]",
        b"nonsense",
        b'{"TableName": 3}',
        b'{"TableName": "things", "Item": []}',
        b'{"TableName": "things", "Item": {"pk": "p", "sk": null}}',
        b'{"TransactItems": [[], {"Put": []}, {"Put": {"TableName": [], "Item": {}}}]}',
        b'{"RequestItems": {"things": [{"PutRequest": []}, {}, 4]}}',
    ]
    with opened(tmp_path) as client:
        make_table(client)
        for operation in ("PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchWriteItem", "GetItem"):
            for body in hostile:
                request = urllib.request.Request(
                    client.meta.endpoint_url, body, {"X-Amz-Target": f"DynamoDB_20120810.{operation}"}
                )
                with pytest.raises(urllib.error.HTTPError) as refused:
                    urllib.request.urlopen(request, timeout=10)
                assert refused.value.code in {400, 500}
                refused.value.close()
        assert everything(client) == {}
        client.put_item(TableName=TABLE, Item=key("fine"))
        assert list(everything(client)) == ["fine"]


def test_what_is_not_offered_is_refused_by_name(tmp_path: Path) -> None:
    with opened(tmp_path) as client, pytest.raises(ClientError, match="ExecuteStatement"):
        client.execute_statement(Statement="SELECT * FROM things")


def test_eight_threads_counting_lose_no_count(tmp_path: Path) -> None:
    with opened(tmp_path) as client:
        make_table(client)

        def add() -> None:
            for _ in range(25):
                client.transact_write_items(TransactItems=[count("a"), count("b")])

        threads = [threading.Thread(target=add) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = everything(client)
        assert found["a"]["n"] == found["b"]["n"] == {"N": "200"}


# Writes for ever, saying each number once it was answered. The log is compacted every few dozen writes.
_WRITER = """
import json, pathlib, sys
from infra.local import dynamodb
from infra.local.wire import Call

database = dynamodb.DynamoDB(pathlib.Path(sys.argv[1]), compact_at=8000)

def call(operation, **request):
    headers = {"x-amz-target": "DynamoDB_20120810." + operation}
    answer = database.answer(Call("POST", "/", headers, json.dumps(request).encode()))
    assert answer.status == 200, answer.body

for n in range(int(sys.argv[2]), 10**9):
    key = {"pk": {"S": "p"}, "sk": {"S": str(n % 300)}}
    item = {**key, "n": {"N": str(n)}, "filling": {"S": "x" * (n % 200)}}
    counter = {"TableName": "things", "Key": {"pk": {"S": "p"}, "sk": {"S": "count"}}, "UpdateExpression": "ADD n :n",
               "ExpressionAttributeValues": {":n": {"N": "1"}}}
    call("TransactWriteItems", TransactItems=[{"Put": {"TableName": "things", "Item": item}}, {"Update": counter}])
    if n % 100 == 50:
        database.compact()
    print(n, flush=True)
"""


def test_repeated_kills_lose_no_acknowledged_write(tmp_path: Path) -> None:
    with opened(tmp_path) as client:
        make_table(client)
    following = 0
    for acknowledged_before_kill in (1, 151, 77, 340):
        last = _written_until_killed(tmp_path, following, acknowledged_before_kill)
        with opened(tmp_path) as client:
            found = everything(client)
            counted = int(found["count"]["n"]["N"])
            assert counted in {last + 1, last + 2}  # one more may have been kept and not yet answered
            for n in range(max(0, last - 299), last + 1):
                assert int(found[str(n % 300)]["n"]["N"]) in {n, n + 300}
        following = counted


def _written_until_killed(folder: Path, start: int, acknowledged: int) -> int:
    with subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(folder), str(start)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout
        last = -1
        for line in writer.stdout:
            last = int(line)
            if last == start + acknowledged:
                os.kill(writer.pid, signal.SIGKILL)
    assert writer.returncode == -signal.SIGKILL
    return last
