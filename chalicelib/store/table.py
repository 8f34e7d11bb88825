"""The one table: every key shape on this page, and a thin client that speaks plain dicts.

| what                        | pk            | sk              |
| --------------------------- | ------------- | --------------- |
| service                     | SVC#<id>      | META            |
| its releases                | SVC#<id>      | REL#<number>    |
| what those were made of     | SVC#<id>      | SRC#<number>    |
| its timeline                | SVC#<id>      | EVT#<time>#<id> |
| its lease                   | SVC#<id>      | LEASE           |
| service list: a shard's rows | DIR#<shard>  | ROWS            |
| service list: shards' versions | DIR        | <group>         |
| a taken service name        | NAME#<name>   | NAME            |
| a taken host name           | HOSTNAME#<name> | NAME          |
| the host that a machine is  | MACHINE#<engine id and host name> | MACHINE |
| job                         | JOB#<id>      | META            |
| a job that is not over      | JOBS          | <job id>        |
| host, customer, token, template | HOSTS, CUSTOMERS, TOKENS, TEMPLATES | <id> |
| what a service's pushes are signed with | SVC#<id> | HOOK         |
| a push that was taken       | DELIVERY#<service id>#<its id> | DELIVERY |
| services to deploy again    | AGAIN           | <service id>    |
| a customer's login at a registry | REGISTRIES | <id>           |
| who pulled from a repository by a login | PULLED#<repository> | PULLED |
| what one was promised        | PROMISED#<host or customer id> | PROMISED |
| a service being removed     | REMOVALS      | <service id>    |
| turns on a host             | SLOTS#<host id> | SLOTS         |
| what a host's services used | OBSERVED#<host id> | <service id> |
| an answer kept for a repeat | REPLY#<token id>#<key> | REPLY |
| a token's requests          | RATE#<token id> | <minute>      |
| the table's own form        | SCHEMA        | VERSION         |
| which installation it is of | INSTALLATION  | ID              |
| the audit trail             | AUDIT#<day>   | <time>#<id>     |
| who follows what on a host  | FOLLOWERS#<host id> | F#<number>  |
| how often that changed      | FOLLOWERS#<host id> | VERSION     |
| an open WebSocket           | SOCKET#<connection> | SOCKET      |
| the WebSockets of a token   | SOCKETS#<token id>  | <connection> |
| a way into one WebSocket    | TICKET#<hash> | TICKET          |
| a host's agent              | AGENT#<host id> | META          |
| the last batch of each lane | AGENT#<host id> | LANE#<lane>   |

Lists are queries of one partition; nothing scans, but for the operator's command that rebuilds the service list.
`expires` is the table's TTL attribute: DynamoDB deletes late, so
readers check it again.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from chalicelib.domain.errors import Conflict, Unavailable
from chalicelib.store.typed import plain, typed

Item = dict[str, Any]
Key = tuple[str, str]


class Lost(Conflict):
    """A conditional write found something else than it expected; nothing was written.

    `failed` numbers the writes of a transaction whose conditions failed.
    """

    def __init__(self, message: str, failed: tuple[int, ...] = ()) -> None:
        super().__init__(message)
        self.failed = failed


def definition(name: str) -> dict[str, Any]:
    """What `CreateTable` needs; `infra/resources.yaml` declares the same for AWS."""
    return {
        "TableName": name,
        "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [
            {"AttributeName": "pk", "AttributeType": "S"},
            {"AttributeName": "sk", "AttributeType": "S"},
        ],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    }


class Table:
    """Plain dicts in, plain dicts out. A failed condition raises `Lost`; an unreachable DynamoDB `Unavailable`."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def get(self, key: Key, *, consistent: bool = True) -> Item | None:
        """The item; without `consistent` at half the price, as it was a moment ago or not at all."""
        answer = self._call("get_item", Key=_key(key), ConsistentRead=consistent)
        return _plain(answer["Item"]) if "Item" in answer else None

    def get_many(self, keys: list[Key], *, consistent: bool = True) -> dict[Key, Item]:
        found: dict[Key, Item] = {}
        for start in range(0, len(keys), 100):
            wanted: Any = {
                self._name: {"Keys": [_key(key) for key in keys[start : start + 100]], "ConsistentRead": consistent}
            }
            while wanted:
                answer = self._call_raw("batch_get_item", RequestItems=wanted)
                for raw in answer["Responses"].get(self._name, []):
                    item = _plain(raw)
                    found[(item["pk"], item["sk"])] = item
                wanted = answer.get("UnprocessedKeys")
        return found

    def query(
        self, pk: str, prefix: str = "", *, newest_first: bool = False, limit: int | None = None
    ) -> Iterator[Item]:
        """Items of one partition whose sort key starts with `prefix`, in key order."""
        condition, values = "pk = :pk", {":pk": pk}
        if prefix:
            condition, values = f"{condition} AND begins_with(sk, :sk)", {**values, ":sk": prefix}
        arguments: dict[str, Any] = {
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": _values(values),
            "ScanIndexForward": not newest_first,
            "ConsistentRead": True,
        }
        if limit:
            arguments["Limit"] = limit
        while True:
            answer = self._call("query", **arguments)
            yield from map(_plain, answer["Items"])
            if "LastEvaluatedKey" not in answer or limit:
                return
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def between(self, pk: str, first: str, last: str, **equal: str) -> Iterator[Item]:
        """Items of one partition with first <= sort key <= last, last one first, that have these attributes."""
        for answer in self._ranges(pk, first, last, equal, Select="ALL_ATTRIBUTES"):
            yield from map(_plain, answer["Items"])

    def count_between(self, pk: str, first: str, last: str, **equal: str) -> int:
        return sum(int(answer["Count"]) for answer in self._ranges(pk, first, last, equal, Select="COUNT"))

    def _ranges(self, pk: str, first: str, last: str, equal: Mapping[str, str], **arguments: Any) -> Iterator[Any]:
        values = {":pk": pk, ":first": first, ":last": last, **{f":{name}": value for name, value in equal.items()}}
        if equal:
            # Named apart: `method` is a word of DynamoDB's own.
            arguments["FilterExpression"] = " AND ".join(f"#{name} = :{name}" for name in equal)
            arguments["ExpressionAttributeNames"] = {f"#{name}": name for name in equal}
        while True:
            answer = self._call(
                "query",
                KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
                ExpressionAttributeValues=_values(values),
                ScanIndexForward=False,
                **arguments,
            )
            yield answer
            if "LastEvaluatedKey" not in answer:
                return
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def count(self, pk: str, prefix: str) -> int:
        arguments: dict[str, Any] = {}
        total: int = 0
        while True:
            answer = self._call(
                "query",
                KeyConditionExpression="pk = :pk AND begins_with(sk, :sk)",
                ExpressionAttributeValues=_values({":pk": pk, ":sk": prefix}),
                Select="COUNT",
                **arguments,
            )
            total += int(answer["Count"])
            if "LastEvaluatedKey" not in answer:
                return total
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def scan(self, sk: str) -> Iterator[str]:
        """The partition of every item with this sort key. It reads the whole table: for an operator's commands only."""
        arguments: dict[str, Any] = {
            "FilterExpression": "sk = :sk",
            "ExpressionAttributeValues": _values({":sk": sk}),
            "ProjectionExpression": "pk",
            "ConsistentRead": True,
        }
        while True:
            answer = self._call("scan", **arguments)
            yield from (_plain(raw)["pk"] for raw in answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def transact(self, *writes: dict[str, Any]) -> None:
        """All of the writes (made by `put`, `update`, `delete`, `check`) or none."""
        self._call_raw("transact_write_items", TransactItems=[self._named(write) for write in writes])

    def write(self, write: dict[str, Any]) -> Item | None:
        """One write; an update returns the item as it now is."""
        ((verb, arguments),) = self._named(write).items()
        if verb == "Update":
            answer = self._call_raw("update_item", **arguments, ReturnValues="ALL_NEW")
            return _plain(answer["Attributes"])
        self._call_raw({"Put": "put_item", "Delete": "delete_item"}[verb], **arguments)
        return None

    def _named(self, write: dict[str, Any]) -> dict[str, Any]:
        return {verb: {**arguments, "TableName": self._name} for verb, arguments in write.items()}

    def _call(self, verb: str, **arguments: Any) -> Any:
        return self._call_raw(verb, TableName=self._name, **arguments)

    def _call_raw(self, verb: str, **arguments: Any) -> Any:
        try:
            return getattr(self._client, verb)(**arguments)
        except ClientError as error:
            if _is_lost(error):
                raise Lost("it was changed meanwhile", _failed(error)) from error
            raise Unavailable(f"DynamoDB refused {verb}: {error.response['Error']['Code']}") from error
        except BotoCoreError as error:
            raise Unavailable(f"DynamoDB did not answer {verb}") from error


def put(key: Key, attributes: Mapping[str, Any], condition: str = "", **values: Any) -> dict[str, Any]:
    item = {"pk": key[0], "sk": key[1], **attributes}
    write: dict[str, Any] = {"Item": {name: typed(value) for name, value in item.items() if value is not None}}
    return {"Put": _conditional(write, condition, {}, values)}


def update(
    key: Key,
    changes: Mapping[str, Any],
    condition: str = "",
    *,
    expressions: tuple[str, ...] = (),
    names: Mapping[str, str] | None = None,
    **values: Any,
) -> dict[str, Any]:
    """Set each of `changes`; `expressions` are further `SET` clauses that use `names` (#x) and `values` (:x)."""
    used_names = {f"#{name}": name for name in changes} | dict(names or {})
    clauses = [f"#{name} = :set_{name}" for name in changes] + list(expressions)
    write: dict[str, Any] = {"Key": _key(key), "UpdateExpression": "SET " + ", ".join(clauses)}
    values = {**{f"set_{name}": value for name, value in changes.items()}, **values}
    return {"Update": _conditional(write, condition, used_names, values)}


def delete(key: Key, condition: str = "", **values: Any) -> dict[str, Any]:
    return {"Delete": _conditional({"Key": _key(key)}, condition, {}, values)}


def check(key: Key, condition: str, **values: Any) -> dict[str, Any]:
    return {"ConditionCheck": _conditional({"Key": _key(key)}, condition, {}, values)}


def _conditional(
    write: dict[str, Any], condition: str, names: dict[str, str], values: dict[str, Any]
) -> dict[str, Any]:
    if condition:
        write["ConditionExpression"] = condition
        if "#status" in condition:
            names = {**names, "#status": "status"}
    if names:
        write["ExpressionAttributeNames"] = names
    if values:
        write["ExpressionAttributeValues"] = _values({f":{name}": value for name, value in values.items()})
    return write


def _is_lost(error: ClientError) -> bool:
    code = error.response["Error"]["Code"]
    if code in {"ConditionalCheckFailedException", "TransactionConflictException"}:
        return True
    reasons = {reason.get("Code") for reason in error.response.get("CancellationReasons", [])}
    return code == "TransactionCanceledException" and bool(reasons & {"ConditionalCheckFailed", "TransactionConflict"})


def _failed(error: ClientError) -> tuple[int, ...]:
    reasons = error.response.get("CancellationReasons", [])
    return tuple(n for n, reason in enumerate(reasons) if reason.get("Code") == "ConditionalCheckFailed")


def _key(key: Key) -> dict[str, Any]:
    return {"pk": {"S": key[0]}, "sk": {"S": key[1]}}


def _values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: typed(value) for name, value in values.items()}


def _plain(raw: Mapping[str, Any]) -> Item:
    return {name: plain(value) for name, value in raw.items()}
