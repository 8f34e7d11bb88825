"""DynamoDB's typed values, `{"S": "text"}`, from plain ones and back.

boto3 has this too, but importing it brings S3's transfer manager, and costs a cold start 60 ms of CPU
(`bench/cold_import.py`).
Numbers: whole ones stay whole; DynamoDB keeps 38 digits.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any


def typed(value: Any) -> dict[str, Any]:
    """Raise `TypeError` for what DynamoDB does not hold, floats among it: they would not come back as they went."""
    match value:
        case None:
            return {"NULL": True}
        case bool():
            return {"BOOL": value}
        case str():
            return {"S": value}
        case int() | Decimal():
            return {"N": str(value)}
        case bytes() | bytearray():
            return {"B": bytes(value)}
        case Mapping():
            return {"M": {name: typed(inner) for name, inner in value.items()}}
        case list() | tuple():
            return {"L": [typed(inner) for inner in value]}
    raise TypeError(f"DynamoDB holds no {type(value).__name__}")


def plain(value: Mapping[str, Any]) -> Any:
    ((kind, held),) = value.items()
    match kind:
        case "NULL":
            return None
        case "N":
            return _number(held)
        case "M":
            return {name: plain(inner) for name, inner in held.items()}
        case "L":
            return [plain(inner) for inner in held]
    return held  # S, BOOL and B are what they are


def _number(text: str) -> int | float:
    number = Decimal(text)
    return int(number) if number == number.to_integral_value() else float(number)
