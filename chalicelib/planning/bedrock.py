"""Amazon Bedrock: Converse with a tool, through botocore."""

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from chalicelib.domain.errors import ModelFailed
from chalicelib.planning.asking import MOST_ANSWERED, Answer, Question

_ATTEMPTS = 3
_CONNECT_SECONDS = 5


class Bedrock:
    def __init__(self, client: Any, model: str) -> None:
        self._client = client
        self._model = model

    def ask(self, question: Question) -> Answer:
        specification = {
            "name": question.tool,
            "description": question.purpose,
            "inputSchema": {"json": dict(question.schema)},
        }
        try:
            said = self._client.converse(
                modelId=self._model,
                system=[{"text": question.instructions}],
                messages=[{"role": "user", "content": [{"text": question.text}]}],
                toolConfig={"tools": [{"toolSpec": specification}], "toolChoice": {"tool": {"name": question.tool}}},
                inferenceConfig={"maxTokens": MOST_ANSWERED},
            )
        except ClientError as error:
            raise ModelFailed(f"Bedrock answered {error.response['Error'].get('Code', 'an error')}") from None
        except BotoCoreError as error:
            raise ModelFailed(f"Bedrock could not be asked: {type(error).__name__}") from None
        except (ResponseParserError, ValueError):
            raise ModelFailed("the model's answer is not JSON") from None
        return _answer(said, question.tool)


def client(base_url: str, key: str, timeout_seconds: int) -> Any:
    """A client that signs by the function's role, or bears the key of an account, where one is given."""
    import botocore.session  # noqa: PLC0415 only a deploy that asks a model pays for it
    from botocore.config import Config  # noqa: PLC0415

    session = botocore.session.get_session()
    # Each attempt has its share of the time, so that what is tried again ends in time too.
    settings: dict[str, Any] = {
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": max(1, timeout_seconds // _ATTEMPTS),
        "retries": {"total_max_attempts": _ATTEMPTS, "mode": "standard"},
    }
    if key:
        session.register_component("token_provider", _Key(key))
        settings["signature_version"] = "bearer"
    try:
        return session.create_client("bedrock-runtime", endpoint_url=base_url or None, config=Config(**settings))
    except (BotoCoreError, ValueError) as error:  # no region, or an address that is none
        raise ModelFailed(f"Bedrock cannot be asked: {error}") from None


class _Key:
    """What botocore asks for a token."""

    def __init__(self, key: str) -> None:
        self._key = key

    def load_token(self, **_: Any) -> Any:
        from botocore.tokens import FrozenAuthToken  # noqa: PLC0415

        return FrozenAuthToken(self._key)


def _answer(said: Any, tool: str) -> Answer:
    content = said.get("output", {}).get("message", {}).get("content", [])
    used = next((part["toolUse"] for part in content if isinstance(part.get("toolUse"), dict)), None)
    if used is None or used.get("name") != tool:
        raise ModelFailed("the model did not answer by the tool that it was given")
    tokens = said.get("usage", {}).get("totalTokens", 0)
    return Answer(used.get("input"), tokens if isinstance(tokens, int) else 0)
