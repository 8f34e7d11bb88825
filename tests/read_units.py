"""What reads cost in DynamoDB, by its own rule: 4 KB an item (a query: all its items together) is a unit, or half a one
when it need not be consistent.

The emulator's `ConsumedCapacity` counts a read as one item of at most 4 KB however large its answer is, and a batch not
at all. So the sizes of what came back are added up here; the emulator's figure counts where it is the higher one.
"""

from collections.abc import Mapping
from typing import Any

from chalicelib.store.table import Table
from tests.emulator import Panel

_BLOCK = 4096


class Meter:
    """A DynamoDB client that adds up the units its reads cost."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.units = 0.0

    def __getattr__(self, verb: str) -> Any:
        return getattr(self._client, verb)

    def get_item(self, **arguments: Any) -> Any:
        answer = self._client.get_item(**arguments, ReturnConsumedCapacity="TOTAL")
        blocks = _blocks(_size(answer.get("Item", {})))
        self._add(blocks, arguments.get("ConsistentRead"), [answer["ConsumedCapacity"]])
        return answer

    def query(self, **arguments: Any) -> Any:
        answer = self._client.query(**arguments, ReturnConsumedCapacity="TOTAL")
        blocks = _blocks(sum(map(_size, answer["Items"])))
        self._add(blocks, arguments.get("ConsistentRead"), [answer["ConsumedCapacity"]])
        return answer

    def batch_get_item(self, **arguments: Any) -> Any:
        answer = self._client.batch_get_item(**arguments, ReturnConsumedCapacity="TOTAL")
        assert not answer.get("UnprocessedKeys")
        for name, wanted in arguments["RequestItems"].items():
            found = answer["Responses"].get(name, [])
            missing = len(wanted["Keys"]) - len(found)
            blocks = sum(_blocks(_size(item)) for item in found) + missing
            self._add(blocks, wanted.get("ConsistentRead"), answer.get("ConsumedCapacity", []))
        return answer

    def scan(self, **arguments: Any) -> Any:
        raise AssertionError("no request scans")

    def _add(self, blocks: int, consistent: Any, told: list[Mapping[str, Any]]) -> None:
        counted = blocks * (1.0 if consistent else 0.5)
        self.units += max(counted, sum(float(entry["CapacityUnits"]) for entry in told))

    def spent(self) -> float:
        """Since it was last asked."""
        units, self.units = self.units, 0.0
        return units


def metered(panel: Panel) -> Meter:
    """Have the panel's stores, which must not have been used yet, read through a meter."""
    meter = Meter(panel.client("dynamodb"))
    name = panel.table._name
    panel.table = Table(meter, name)
    return meter


def _blocks(size: int) -> int:
    return max(1, -(-size // _BLOCK))


def _size(item: Mapping[str, Any]) -> int:
    return sum(len(name.encode()) + _value_size(value) for name, value in item.items())


def _value_size(value: Mapping[str, Any]) -> int:
    ((kind, content),) = value.items()
    if kind == "S":
        return len(content.encode())
    if kind == "B":
        return len(bytes(content))
    if kind == "N":
        return len(content) // 2 + 2
    if kind == "M":
        return 3 + _size(content) + len(content)
    if kind == "L":
        return 3 + sum(1 + _value_size(inner) for inner in content)
    return 1
