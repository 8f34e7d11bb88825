"""The packed list of services: nothing is lost between writers, nothing old is taken for new, and it stays cheap."""

import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.domain.errors import Unavailable
from chalicelib.domain.listing import Row, narrowed
from chalicelib.domain.words import new_id
from chalicelib.store import shards
from chalicelib.store.directory import Directory, Together
from chalicelib.store.services import ROW_FIELDS
from chalicelib.store.shards import DamagedShard
from chalicelib.store.table import Lost, Table, check, definition, put, update
from tests import many
from tests.emulator import Panel
from tests.read_units import metered


class Client:
    """A DynamoDB client in whose way a test may put something."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.before_transaction: Callable[[], None] = lambda: None
        self.read: Callable[..., Any] = client.batch_get_item

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._client, verb)

    def transact_write_items(self, **arguments: Any) -> Any:
        self.before_transaction()
        return self._client.transact_write_items(**arguments)

    def batch_get_item(self, **arguments: Any) -> Any:
        return self.read(**arguments)


@pytest.fixture
def client(panel: Panel) -> Client:
    return Client(panel.client("dynamodb"))


@pytest.fixture
def table(panel: Panel, client: Client) -> Table:
    return Table(client, panel.table._name)


def a_row(service_id: str, name: str = "blog", **fields: Any) -> Row:
    return {"id": service_id, "name": name, "status": "running", "customer_id": "cust_a", **fields}


def neighbours(count: int) -> list[str]:
    """Ids of services that share a shard."""
    found: list[str] = []
    while len(found) < count:
        service_id = new_id("svc")
        if shards.number_of(service_id) == 7:
            found.append(service_id)
    return found


def names(directory: Directory) -> list[str]:
    return [row["name"] for row in directory.listing().by("name")]


def test_what_is_committed_is_in_the_next_list_of_every_process(table: Table) -> None:
    here, elsewhere = Directory(table), Directory(table)
    assert names(elsewhere) == []
    service_id = new_id("svc")

    here.commit(service_id, a_row(service_id, "blog"), [put(("P", "S"), {"n": 1})])
    assert names(here) == names(elsewhere) == ["blog"]

    elsewhere.commit(service_id, a_row(service_id, "shop"), [])
    assert names(here) == names(elsewhere) == ["shop"]

    here.commit(service_id, None, [])
    assert names(here) == names(elsewhere) == []
    assert table.get(("P", "S")) is not None


def test_writers_of_one_shard_in_several_processes_lose_nothing(table: Table) -> None:
    processes = [Directory(table) for _ in range(4)]
    service_ids = neighbours(24)

    def write(number: int) -> None:
        service_id = service_ids[number]
        for status in ("deploying", "running"):
            writes = [put((service_id, status), {})]
            processes[number % 4].commit(service_id, a_row(service_id, f"s-{number:02d}", status=status), writes)

    in_threads(write, len(service_ids))

    fresh = Directory(table)
    for directory in (*processes, fresh):
        assert names(directory) == [f"s-{number:02d}" for number in range(24)]
        assert {row["status"] for row in directory.listing().rows} == {"running"}
    assert shards.read(table, 7).version == 48
    assert all(table.get((service_id, "running")) for service_id in service_ids)


def test_a_shard_that_another_wrote_meanwhile_is_read_and_written_again(table: Table, client: Client) -> None:
    ours, theirs = neighbours(2)
    other = Directory(table)

    def once() -> None:
        client.before_transaction = lambda: None
        other.commit(theirs, a_row(theirs, "theirs"), [])

    client.before_transaction = once
    directory = Directory(table)
    directory.commit(ours, a_row(ours, "ours"), [put(("P", "S"), {}, "attribute_not_exists(pk)")])

    assert names(directory) == names(other) == ["ours", "theirs"]


def test_what_the_service_itself_lost_is_told_even_if_its_shard_was_lost_too(table: Table, client: Client) -> None:
    ours, theirs = neighbours(2)
    other = Directory(table)

    def once() -> None:
        client.before_transaction = lambda: None
        other.commit(theirs, a_row(theirs, "theirs"), [])

    client.before_transaction = once
    writes = [put(("P", "new"), {}), check(("P", "none"), "attribute_exists(pk)")]
    with pytest.raises(Lost) as caught:
        Directory(table).commit(ours, a_row(ours), writes)

    assert caught.value.failed == (1,)
    assert table.get(("P", "new")) is None
    assert names(other) == ["theirs"]


def test_a_race_lost_again_and_again_is_unavailable_and_writes_nothing(table: Table, client: Client) -> None:
    (service_id,) = neighbours(1)
    raw = Table(client._client, table._name)

    def always() -> None:
        raw.transact(*shards.read(raw, 7).with_rows({}).writes())

    client.before_transaction = always
    with pytest.raises(Unavailable, match="try again"):
        Directory(table, attempts=3).commit(service_id, a_row(service_id), [put(("P", "new"), {})])

    assert table.get(("P", "new")) is None


def test_a_write_that_met_another_in_the_same_instant_is_tried_again(table: Table, client: Client) -> None:
    service_id = new_id("svc")

    def once() -> None:
        client.before_transaction = lambda: None
        reasons = [{"Code": "None"}, {"Code": "TransactionConflict"}]
        answer: Any = {"Error": {"Code": "TransactionCanceledException"}, "CancellationReasons": reasons}
        raise ClientError(answer, "TransactWriteItems")

    client.before_transaction = once
    directory = Directory(table)
    directory.commit(service_id, a_row(service_id, "blog"), [])

    assert names(directory) == ["blog"]


def lagging(client: Client, old: Any, *, consistent_too: bool) -> None:
    """Once, have a batch of reads answered as the table was before."""
    real = client.read

    def late(**arguments: Any) -> Any:
        (wanted,) = arguments["RequestItems"].values()
        if wanted["ConsistentRead"] and not consistent_too:
            return real(**arguments)
        if consistent_too and wanted["ConsistentRead"]:
            client.read = real
        return old

    client.read = late


@pytest.mark.parametrize("had_a_row_before", [True, False])
def test_a_replica_that_lags_is_noticed_in_the_same_list(table: Table, client: Client, had_a_row_before: bool) -> None:
    service_id = new_id("svc")
    writer, reader = Directory(table), Directory(table)
    if had_a_row_before:
        writer.commit(service_id, a_row(service_id, "before"), [])
        assert names(reader) == ["before"]
    key = {"pk": {"S": f"DIR#{shards.number_of(service_id):03d}"}, "sk": {"S": "ROWS"}}
    old = client.read(RequestItems={table._name: {"Keys": [key]}})
    writer.commit(service_id, a_row(service_id, "after"), [])

    lagging(client, old, consistent_too=False)

    assert names(reader) == ["after"]


def test_rows_older_than_their_listed_version_are_never_held_for_it(table: Table, client: Client) -> None:
    """A version may be seen before the rows of the same transaction, even by consistent reads."""
    service_id = new_id("svc")
    writer, reader = Directory(table), Directory(table)
    writer.commit(service_id, a_row(service_id, "before"), [])
    key = {"pk": {"S": f"DIR#{shards.number_of(service_id):03d}"}, "sk": {"S": "ROWS"}}
    old = client.read(RequestItems={table._name: {"Keys": [key]}})
    writer.commit(service_id, a_row(service_id, "after"), [])
    lagging(client, old, consistent_too=True)

    assert names(reader) == ["before"]
    assert names(reader) == ["after"]


def test_readers_and_writers_in_many_threads_see_only_what_was_written_and_all_of_it(table: Table) -> None:
    directory = Directory(table)
    service_ids = [new_id("svc") for _ in range(16)]
    wrong: list[str] = []

    def work(number: int) -> None:
        service_id = service_ids[number]
        for step in range(4):
            directory.commit(service_id, a_row(service_id, f"{number}", step=step), [])
            mine = [row for row in directory.listing().rows if row["id"] == service_id]
            if [row["step"] for row in mine] != [step]:
                wrong.append(f"{service_id} at {step}: {mine}")

    in_threads(work, len(service_ids))

    assert wrong == []


def test_a_damaged_shard_says_what_to_do(table: Table) -> None:
    service_id = new_id("svc")
    Directory(table).commit(service_id, a_row(service_id), [])
    number = shards.number_of(service_id)
    table.write(update((f"DIR#{number:03d}", "ROWS"), {"packed": b"not packed"}))

    with pytest.raises(DamagedShard, match="rebuilt"):
        Directory(table).listing()


def test_a_field_that_older_rows_lack_is_read_as_nothing() -> None:
    unpacked = shards.unpack(shards.pack([a_row("b"), a_row("a", region="north")]))

    assert unpacked == {"a": a_row("a", region="north"), "b": {**a_row("b"), "region": None}}


def test_a_packed_row_takes_about_fifty_bytes() -> None:
    made = many.services(
        157, random.Random(1), [new_id("cust") for _ in range(100)], [new_id("host") for _ in range(9)]
    )
    rows = [{name: getattr(service, name) for name in ROW_FIELDS} for service in made]

    assert len(shards.pack(rows)) / len(rows) < 60


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "remove"]),
        st.integers(0, 9),
        st.text("abc-", min_size=1, max_size=4),
        st.sampled_from(["running", "stopped", "failed"]),
        st.booleans(),
    ),
    max_size=15,
)


@pytest.fixture(scope="module")
def bare_client(local_aws: str) -> Iterator[Any]:
    client = Panel(local_aws).client("dynamodb")
    yield client
    client.close()


@settings(max_examples=20, deadline=None)
@given(OPERATIONS, st.sampled_from(["name", "status"]), st.booleans(), st.sampled_from([None, "a", "-b"]))
def test_after_any_writes_the_list_is_a_plain_list(
    bare_client: Any, operations: list[Any], field: str, descending: bool, search: str | None
) -> None:
    name = f"t{uuid.uuid4().hex}"
    bare_client.create_table(**definition(name))
    table = Table(bare_client, name)
    writer, reader = Directory(table), Directory(table)
    plain: dict[str, Row] = {}

    for verb, number, called, status, look in operations:
        service_id = f"svc_{number}"
        if verb == "remove":
            plain.pop(service_id, None)
            writer.commit(service_id, None, [])
        else:
            plain[service_id] = a_row(service_id, called, status=status)
            writer.commit(service_id, plain[service_id], [])
        if look:
            assert len(reader.listing().rows) == len(plain)

    for directory in (reader, writer, Directory(table)):
        found = narrowed(directory.listing().by(field, descending=descending), search, status="running")
        expected = [row for row in plain.values() if row["status"] == "running" and (search or "") in row["name"]]
        expected.sort(key=lambda row: (row[field], row["id"]), reverse=descending)
        assert list(found) == expected
    bare_client.delete_table(TableName=name)


def test_ten_thousand_services_cost_a_unit_to_list_and_one_more_for_a_change(panel: Panel) -> None:
    meter = metered(panel)
    customers, hosts = [new_id("cust") for _ in range(100)], [new_id("host") for _ in range(20)]
    made = many.services(10_000, random.Random(4), customers, hosts)
    many.store_list(panel.table, made)
    reader, writer = Directory(panel.table), Directory(panel.table)

    assert len(reader.listing().rows) == 10_000
    cold = meter.spent()
    reader.listing()
    warm = meter.spent()
    writer.commit(made[0].id, None, [])
    meter.spent()
    assert len(reader.listing().rows) == 9_999
    changed = meter.spent()

    assert warm == 1
    assert changed <= 2.5
    assert cold <= 1 + 1.5 * shards.SHARDS


def test_who_comes_during_the_work_waits_for_the_next_which_serves_all() -> None:
    release, begun, count = threading.Semaphore(0), threading.Semaphore(0), [0]

    def work() -> None:
        count[0] += 1
        begun.release()
        assert release.acquire(timeout=10)

    together = Together(work)
    first = threading.Thread(target=together.done_for_me)
    first.start()
    assert begun.acquire(timeout=10)
    later = [threading.Thread(target=together.done_for_me) for _ in range(5)]
    for thread in later:
        thread.start()
    deadline = time.monotonic() + 10
    while together.waiting < 5:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    release.release(2)
    for thread in (first, *later):
        thread.join(10)
        assert not thread.is_alive()

    assert count == [2]


def test_work_that_fails_is_told_to_one_and_done_again_for_the_others() -> None:
    outcomes: list[str] = []
    failing = [True]

    def work() -> None:
        if failing.pop() if failing else False:
            raise Unavailable("once")

    together = Together(work)

    def take_part(_: int) -> None:
        try:
            together.done_for_me()
            outcomes.append("done")
        except Unavailable:
            outcomes.append("failed")

    in_threads(take_part, 6)

    assert sorted(outcomes) == ["done"] * 5 + ["failed"]


def in_threads(work: Callable[[int], None], count: int) -> None:
    failed: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert failed == []
