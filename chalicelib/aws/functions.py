"""Calling the function that holds the SSH keys, for what the API answers at once: start, stop, logs, checks."""

import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError, ReadTimeoutError

from chalicelib.domain import errors
from chalicelib.domain.errors import HostTimeout, SlipwayError, Unavailable


class HostCalls:
    """`host_call`, by Lambda's Invoke. Its client's read timeout bounds a call: API Gateway ends a request at 29 s."""

    def __init__(self, functions: Any, name: str) -> None:
        self._functions = functions
        self._name = name

    def ask(self, call: str, **arguments: Any) -> Any:
        """The call's answer. Raise the `SlipwayError` it raised, `HostTimeout` if it is still at work."""
        answer = self._invoke("RequestResponse", call, arguments)
        reply = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise Unavailable(f"the host function failed: {reply.get('errorType', 'unknown')}")
        if "error" in reply:
            kind = getattr(errors, reply["error"]["type"], SlipwayError)
            raise kind(reply["error"]["message"], reply["error"]["details"])
        return reply["answer"]

    def tell(self, call: str, **arguments: Any) -> None:
        """Have it done without waiting."""
        self._invoke("Event", call, arguments)

    def _invoke(self, how: str, call: str, arguments: dict[str, Any]) -> Any:
        try:
            return self._functions.invoke(
                FunctionName=self._name,
                InvocationType=how,
                Payload=json.dumps({"call": call, "arguments": arguments}).encode(),
            )
        except ReadTimeoutError as error:
            raise HostTimeout("the host is still at work") from error
        except (ClientError, BotoCoreError) as error:
            raise Unavailable("the host function could not be called") from error
