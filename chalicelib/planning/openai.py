"""Chat completions with tools, as OpenAI began them and many others speak them."""

import json
import time
from typing import Any

from chalicelib.domain.errors import ModelFailed
from chalicelib.planning.asking import MOST_ANSWERED, Answer, Question

OPENAI = "https://api.openai.com/v1"
_MOST_BYTES = 1_048_576
_ATTEMPTS = 3
_CONNECT_SECONDS = 5
_PAUSE_SECONDS = 1.0
_WORTH_REPEATING = (429, 500, 502, 503, 504)
_OK = 200


class OpenAI:
    def __init__(self, base_url: str, model: str, key: str, timeout_seconds: int) -> None:
        self._url = f"{(base_url or OPENAI).rstrip('/')}/chat/completions"
        self._model = model
        self._key = key
        self._timeout_seconds = timeout_seconds

    def ask(self, question: Question) -> Answer:
        said = self._said(question)
        try:
            called = said["choices"][0]["message"]["tool_calls"][0]["function"]
            name, written = called["name"], called["arguments"]
        except (KeyError, IndexError, TypeError):
            raise ModelFailed("the model did not answer by the tool that it was given") from None
        if name != question.tool:
            raise ModelFailed("the model called a tool that does not exist")
        return Answer(_json(written), _tokens(said))

    def _said(self, question: Question) -> Any:
        """Ask until there is an answer, a no that will stay one, or no time."""
        deadline = time.monotonic() + self._timeout_seconds
        for attempt in range(1, _ATTEMPTS + 1):
            status, body, pause = self._post(question, deadline)
            if status == _OK:
                return _json(body)
            if status not in _WORTH_REPEATING or attempt == _ATTEMPTS or time.monotonic() + pause >= deadline:
                break
            time.sleep(pause * attempt)
        raise ModelFailed(f"the model's provider answered {status}")

    def _post(self, question: Question, deadline: float) -> tuple[int, bytes, float]:
        # Only a deploy that asks a model pays for it.
        import requests  # noqa: PLC0415

        left = max(1.0, deadline - time.monotonic())
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        try:
            with requests.post(
                self._url,
                json=self._body(question),
                headers=headers,
                timeout=(_CONNECT_SECONDS, left),
                allow_redirects=False,  # the key is this address's alone
                stream=True,
            ) as response:
                return response.status_code, _read(response, deadline), _pause(response.headers.get("Retry-After"))
        except requests.Timeout:
            raise ModelFailed(f"the model did not answer within {self._timeout_seconds} s") from None
        except requests.RequestException as error:
            # its text may hold headers; its name says enough
            raise ModelFailed(f"the model's provider could not be asked: {type(error).__name__}") from None

    def _body(self, question: Question) -> dict[str, Any]:
        function = {"name": question.tool, "description": question.purpose, "parameters": question.schema}
        return {
            "model": self._model,
            "messages": [
                {"role": "system", "content": question.instructions},
                {"role": "user", "content": question.text},
            ],
            "tools": [{"type": "function", "function": function}],
            "tool_choice": {"type": "function", "function": {"name": question.tool}},
            "max_completion_tokens": MOST_ANSWERED,
        }


def _read(response: Any, deadline: float) -> bytes:
    """The body, as long as it is neither endless nor drips in past the deadline."""
    body = b""
    for chunk in response.iter_content(65_536):
        body += chunk
        if len(body) > _MOST_BYTES:
            raise ModelFailed("the model's answer is larger than any answer is")
        if time.monotonic() > deadline:
            raise ModelFailed("the model did not end its answer in time")
    return body


def _json(text: Any) -> Any:
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        raise ModelFailed("the model's answer is not JSON") from None


def _tokens(said: Any) -> int:
    usage = said.get("usage") if isinstance(said, dict) else None
    total = usage.get("total_tokens") if isinstance(usage, dict) else None
    return total if isinstance(total, int) and total > 0 else 0


def _pause(retry_after: str | None) -> float:
    return float(retry_after) if retry_after and retry_after.isdecimal() else _PAUSE_SECONDS
