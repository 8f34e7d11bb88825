"""A plan: how a repository is built and run, what of it was seen, and what was merely assumed."""

from dataclasses import dataclass
from typing import Final, Literal

from chalicelib.domain.words import Noun

DOCKERFILE: Final = ".slipway.Dockerfile"
SERVICE: Final = "web"  # the one service of a plan that is not a compose file
Kind = Literal["compose", "dockerfile", "detected"]


class BuildPlan(Noun):
    """Paths are relative to the folder that was planned. What is None or empty does not apply."""

    kind: Kind
    stack: str
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()  # fields whose value is a default, because nothing in the repository tells it
    compose: str
    dockerfile: str | None = None  # a text to write at `dockerfile_path`; None: the repository's own file is built
    dockerfile_path: str | None = None
    dockerignore: str | None = None  # a text to write as .dockerignore; None: the repository has its own, or needs none
    port: int = 0  # 0: the compose file says where it is routed, if anywhere
    health_path: str | None = None
    build_command: str | None = None
    start_command: str | None = None
    base_images: tuple[str, ...] = ()
    tokens_used: int = 0  # of the model, by everything that led to this plan

    def builds_like(self, other: "BuildPlan") -> bool:
        """Would both build and run the same? Then there is nothing to try again."""
        told = {"reasons", "warnings", "assumed", "tokens_used"}
        return self.model_dump(exclude=told) == other.model_dump(exclude=told)

    def because(self, *reasons: str, tokens: int = 0) -> "BuildPlan":
        """The plan with further reasons, and with what they cost."""
        return self.model_copy(update={"reasons": (*self.reasons, *reasons), "tokens_used": self.tokens_used + tokens})


@dataclass(frozen=True)
class Given:
    """What is already decided and not for the rules to find out: by a model, say."""

    port: int | None = None
    health_path: str | None = None
    start: tuple[str, ...] = ()  # words
    build: tuple[str, ...] = ()


def one_service(dockerfile_path: str, port: int) -> str:
    """The compose text that builds one Dockerfile and is routed to one port."""
    # Both values are ours: a name from this module or "Dockerfile", and a number.
    return (
        f"services:\n  {SERVICE}:\n    build:\n      context: .\n      dockerfile: {dockerfile_path}\n"
        f'    expose:\n      - "{port:d}"\n'
    )
