"""What a provider is asked for and what it answers, whichever it is; and how much of it a deploy may use."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

# A Dockerfile or a compose file of the size people write, with room to think.
MOST_ANSWERED = 4096


@dataclass(frozen=True)
class Question:
    """Instructions of ours, the text that they are about, and the one tool by which it is answered."""

    instructions: str
    text: str
    tool: str
    purpose: str
    schema: Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """The tool's arguments as the model gave them, unjudged, and the tokens that it took."""

    arguments: Any
    tokens: int


class Provider(Protocol):
    """Somebody who runs models."""

    def ask(self, question: Question) -> Answer:
        """Raise `ModelFailed` where no answer came, or none by the tool."""


@dataclass(frozen=True)
class Model:
    """A provider with what one deploy may use of it."""

    provider: Provider
    max_rounds: int
    max_tokens: int
