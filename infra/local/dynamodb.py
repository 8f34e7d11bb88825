"""DynamoDB for one machine: MiniStack's engine in this process, behind one lock and a journal.

MiniStack keeps its tables in memory and would lose them to a kill. So before a write is answered, what it *left* (the
items as they are now, not the request) is in the journal. Such records can be replayed any number of times: conditions,
counters and client request tokens were decided once, when the write was accepted.
"""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("MINISTACK_ACCOUNT_ID", "123456789012")

from ministack.services import dynamodb as engine

from infra.local.journal import Journal, Record
from infra.local.wire import Answer, Call, refusal

TABLE_CHANGES = frozenset({"CreateTable", "UpdateTable", "UpdateTimeToLive", "DeleteTable"})
WRITES = frozenset({"PutItem", "UpdateItem", "DeleteItem", "BatchWriteItem", "TransactWriteItems"})
READS = frozenset(
    {
        "GetItem",
        "Query",
        "Scan",
        "BatchGetItem",
        "TransactGetItems",
        "DescribeTable",
        "DescribeTimeToLive",
        "ListTables",
    }
)

Place = tuple[str, str, str]  # table, partition key value, sort key value

_OK = 200
_NO_SORT_KEY = "__no_sort__"  # MiniStack's own word
_COMPACT_AT = 16 * 1024 * 1024


class DynamoDB:
    """Answers `DynamoDB_20120810.*` for tables kept in `folder`. One a process: MiniStack's tables are globals."""

    def __init__(self, folder: Path, compact_at: int = _COMPACT_AT) -> None:
        engine.reset()
        self._lock = engine._lock  # also taken by MiniStack's own thread that deletes expired items
        self._journal = Journal(folder)
        self._compact_at = compact_at
        self._snapshot_size = 0
        self._table_changes: dict[str, list[Record]] = {}
        for record in self._journal.replay():
            self._redo(record)
        self._closing = threading.Event()
        self._upkeep = threading.Thread(target=self._keep_up, daemon=True, name="dynamodb-upkeep")
        self._upkeep.start()

    def answer(self, call: Call) -> Answer:
        operation = call.operation
        if operation in READS:
            with self._lock:
                return _run(operation, call.body)
        if operation in WRITES:
            return self._write(operation, call.body)
        if operation in TABLE_CHANGES:
            return self._change_table(operation, call.body)
        return refusal(400, "UnknownOperationException", f"the local DynamoDB does not offer {operation}")

    def compact(self) -> None:
        """Readers and writers wait only while references are collected; an item is replaced, never changed in place."""
        self._journal.sync()
        with self._lock:
            state = [*self._changes_of_tables(), *self._items()]
            generation = self._journal.turn()
        self._snapshot_size = self._journal.compact(generation, state)

    def close(self) -> None:
        self._closing.set()
        self._upkeep.join()
        self.compact()
        with self._lock:
            self._journal.close()

    def _write(self, operation: str, body: bytes) -> Answer:
        request = _parsed(body)
        with self._lock:
            places = list(_places(operation, request))
            before = [_item_at(place) for place in places]
            token = request.get("ClientRequestToken")
            try:
                answer = _run(operation, body)
                if answer.status == _OK:
                    self._journal.append(_left(places, token))
            except BaseException:  # a disk that is full, or a request that MiniStack chokes on: as if it never came
                for place, item in zip(places, before, strict=True):
                    _put_back(place, item)
                if token:
                    engine._txn_idempotency.pop(token, None)
                raise
            return answer

    def _change_table(self, operation: str, body: bytes) -> Answer:
        with self._lock:
            answer = _run(operation, body)
            if answer.status == _OK:
                record: Record = {"do": operation, "with": json.loads(body)}
                self._journal.append(record)
                self._remember(record)
            return answer

    def _redo(self, record: Record) -> None:
        if "do" in record:
            _run(record["do"], json.dumps(record["with"]).encode())
            self._remember(record)
            return
        for table, partition, sort, item in record["left"]:
            _put_back((table, partition, sort), item)
        if "token" in record:
            token, outcome = record["token"]
            engine._txn_idempotency[token] = outcome

    def _remember(self, record: Record) -> None:
        name = record["with"]["TableName"]
        if record["do"] == "DeleteTable":
            self._table_changes.pop(name, None)
        else:
            self._table_changes.setdefault(name, []).append(record)

    def _changes_of_tables(self) -> Iterator[Record]:
        for changes in self._table_changes.values():
            yield from changes

    def _items(self) -> Iterator[Record]:
        for (_, _, name), table in engine._tables.all_items():
            for partition, rows in table["items"].items():
                for sort, item in rows.items():
                    yield {"left": [[name, partition, sort, item]]}
        for (_, _, token), outcome in engine._txn_idempotency.all_items():
            yield {"left": [], "token": [token, outcome]}

    def _keep_up(self) -> None:
        while not self._closing.wait(1):
            self._journal.sync()
            if self._journal.size > max(self._compact_at, self._snapshot_size):
                self.compact()


def _left(places: list[Place], token: str | None) -> Record:
    record: Record = {"left": [[*place, _item_at(place)] for place in places]}
    if token:
        record["token"] = [token, engine._txn_token_lookup(token)]
    return record


def _run(operation: str, body: bytes) -> Answer:
    """MiniStack's handler is a coroutine that never waits."""
    handler = engine.handle_request("POST", "/", {"x-amz-target": f"DynamoDB_20120810.{operation}"}, body, {})
    try:
        handler.send(None)
    except StopIteration as done:
        status, headers, content = done.value
        return Answer(status, content if isinstance(content, bytes) else content.encode(), headers)
    raise RuntimeError(f"MiniStack's {operation} waited for something")


def _parsed(body: bytes) -> dict[str, Any]:
    try:
        request = json.loads(body)
    except ValueError:
        return {}  # MiniStack refuses it
    return request if isinstance(request, dict) else {}


def _places(operation: str, request: dict[str, Any]) -> Iterator[Place]:
    """Where a request may write. What is malformed is passed over: MiniStack then refuses the request as a whole."""
    for name, attributes in _targets(operation, request):
        table = engine._tables.get(engine._normalize_table_name(name)) if isinstance(name, str) else None
        if table is None or not isinstance(attributes, dict):
            continue
        values = [attributes.get(key) for key in (table["pk_name"], table["sk_name"]) if key]
        if all(isinstance(value, dict) and value for value in values):
            partition, *sort = (engine._extract_key_val(value) for value in values)
            yield table["TableName"], partition, sort[0] if sort else _NO_SORT_KEY


def _targets(operation: str, request: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    if operation == "PutItem":
        yield request.get("TableName"), request.get("Item")
    elif operation in {"UpdateItem", "DeleteItem"}:
        yield request.get("TableName"), request.get("Key")
    elif operation == "BatchWriteItem":
        for name, writes in _pairs(request.get("RequestItems")):
            for write in _dicts(writes):
                for verb, arguments in _pairs(write):
                    yield name, dict(_pairs(arguments)).get("Item" if verb == "PutRequest" else "Key")
    else:
        for write in _dicts(request.get("TransactItems")):
            for verb, arguments in _pairs(write):
                if verb != "ConditionCheck":
                    wanted = dict(_pairs(arguments))
                    yield wanted.get("TableName"), wanted.get("Item" if verb == "Put" else "Key")


def _pairs(value: Any) -> list[tuple[str, Any]]:
    return list(value.items()) if isinstance(value, dict) else []


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _item_at(place: Place) -> dict[str, Any] | None:
    name, partition, sort = place
    item: dict[str, Any] | None = engine._tables[name]["items"].get(partition, {}).get(sort)
    return item


def _put_back(place: Place, item: dict[str, Any] | None) -> None:
    name, partition, sort = place
    if item is None:
        engine._remove_item(engine._tables[name], partition, sort)
    else:
        engine._set_item(engine._tables[name], partition, sort, item)
