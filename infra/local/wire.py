"""One AWS call and its answer, as every engine behind the facade sees them."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

REGION = "us-east-1"
ACCOUNT = "123456789012"

JSON = "application/x-amz-json-1.0"

_SCOPE = re.compile(r"Credential=[^/,]*/[^/,]*/[^/,]*/([^/,]*)/aws4_request")


@dataclass(frozen=True, slots=True)
class Call:
    """`headers` have lower-case names; `path` and `query` are as they were sent, still encoded."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    query: str = ""

    @property
    def operation(self) -> str:
        return self.headers.get("x-amz-target", "").rpartition(".")[2]

    @property
    def signed_for(self) -> str:
        """The service its signature is for; "" without one. The signature itself is nobody's business here."""
        scope = _SCOPE.search(self.headers.get("authorization", ""))
        return scope[1] if scope else ""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


Engine = Callable[[Call], Answer]


def reply(content: Mapping[str, Any]) -> Answer:
    return Answer(200, json.dumps(content, separators=(",", ":")).encode(), {"Content-Type": JSON})


def refusal(status: int, code: str, message: str) -> Answer:
    """An error as botocore reads it in every JSON protocol: the code in a header and in the body."""
    body = json.dumps({"__type": code, "message": message, "Message": message}).encode()
    return Answer(status, body, {"Content-Type": JSON, "x-amzn-ErrorType": code})
