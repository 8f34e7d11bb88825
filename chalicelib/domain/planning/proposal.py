"""What a model answers: data of a strict shape, judged like anyone's, and taken only where it may decide.

A model that read a repository may say what the repository's author told it to say. So nothing is taken for true: a
compose text goes through the policy, a Dockerfile through rules that are narrower than a customer's own, and while the
rules have a plan the model decides only what they had to assume, and only with something in the sources to show for it.
"""

import re
import shlex
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from chalicelib.domain import compose
from chalicelib.domain.compose.read import read as read_compose
from chalicelib.domain.errors import CannotPlan, ValidationFailed
from chalicelib.domain.planning import dockerfile as write
from chalicelib.domain.planning import dockerfile_check
from chalicelib.domain.planning.build_plan import DOCKERFILE, BuildPlan, Given, one_service
from chalicelib.domain.planning.composed import base_images, command, exposed, routed_port, services_of
from chalicelib.domain.planning.rules import plan
from chalicelib.domain.planning.tree import Tree
from chalicelib.domain.words import finding

_Word = Annotated[str, StringConstraints(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Words = Annotated[tuple[_Word, ...], Field(min_length=1, max_length=50)]
_LONGEST_NOTE = 300
# A plan is judged before it is anybody's release: these stand for what the release will have.
_NOBODY: Final = "svc_0000000000000000"
_NOBODYS_IMAGE: Final = f"slipway/{_NOBODY}"


class Proposal(BaseModel):
    """Only what is to be otherwise; what is left out stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    port: int | None = Field(default=None, ge=1, le=65535, strict=True, description="where the program listens")
    health_path: str | None = Field(
        default=None,
        pattern=r"^/[!-~]{0,200}$",
        description="a path of the program that answers 2xx or 3xx when it is well",
    )
    start_command: _Words | None = Field(default=None, description="the program and its arguments, no shell")
    build_command: _Words | None = Field(default=None, description="the build's words, no shell")
    dockerfile: str | None = Field(
        default=None,
        max_length=65_536,
        description="a whole Dockerfile for the classic builder, from Docker's official images, not ending as root",
    )
    compose: str | None = Field(
        default=None, max_length=compose.MOST_BYTES, description="a whole compose file, in place of the repository's"
    )
    notes: str | None = Field(default=None, max_length=2000, description="one sentence: what was changed and why")


def read(said: Any) -> Proposal:
    """Raise `ValidationFailed` where the answer is not of that shape; its values are not repeated."""
    try:
        return Proposal.model_validate(said)
    except ValidationError as error:
        found = [
            finding(".".join(map(str, item["loc"])), "proposal", item["msg"])
            for item in error.errors(include_input=False)
        ]
        raise ValidationFailed("the model's answer is not of the shape that was asked for", found) from None


def filled_in(proposal: Proposal, tree: Tree, before: BuildPlan) -> BuildPlan:
    """The plan of the rules with what they had to assume replaced, where the sources bear it out."""
    check(proposal)
    taken = {
        field: value
        for field, value in _decided(proposal).items()
        if field in before.assumed and _borne_out(field, value, tree, before)
    }
    if not taken:
        return before.because("the model told nothing that was left open and a source shows")
    decided = plan(tree, given=_given(taken))
    told = decided.model_copy(update={"reasons": before.reasons, "tokens_used": before.tokens_used})
    return told.because(f"the model told {_listed(taken)}{_note(proposal)}")


def replaced(proposal: Proposal, tree: Tree, before: BuildPlan | None) -> BuildPlan:
    """A plan that the model changes as it likes, within what anyone may: the rules have none, or theirs failed."""
    check(proposal)
    if proposal.dockerfile is not None:
        return _of_dockerfile(proposal, tree, before)
    if proposal.compose is not None:
        return _of_compose(proposal, before)
    decided = _decided(proposal)
    if not decided:
        raise ValidationFailed("the model changed nothing", [finding("", "proposal", "name at least one change")])
    return _redecided(proposal, tree, before, decided)


def check(proposal: Proposal) -> None:
    """Raise `ValidationFailed` with everything that anyone would be refused, whether it would be taken or not."""
    findings: list[dict[str, Any]] = []
    if proposal.dockerfile is not None:
        findings += dockerfile_check.findings(proposal.dockerfile)
    if proposal.compose is not None:
        try:
            _judged(proposal.compose)
        except ValidationFailed as refused:
            findings += refused.details
    if proposal.dockerfile is not None and proposal.compose is not None:
        findings.append(finding("compose", "proposal", "write a Dockerfile or a compose file, not both"))
    if findings:
        first = findings[0]
        raise ValidationFailed(f"the model's answer is refused: {first['path']}: {first['message']}", findings)


def _decided(proposal: Proposal) -> dict[str, Any]:
    """The fields that the rules can be given, as far as the proposal says something of them."""
    fields = ("port", "health_path", "start_command", "build_command")
    return {field: value for field in fields if (value := getattr(proposal, field)) is not None}


def _given(decided: dict[str, Any]) -> Given:
    return Given(
        port=decided.get("port"),
        health_path=decided.get("health_path"),
        start=decided.get("start_command", ()),
        build=decided.get("build_command", ()),
    )


def _borne_out(field: str, value: Any, tree: Tree, before: BuildPlan) -> bool:
    """Does a source say so too? What is only said in a README is an opinion of its author's."""
    said = [text for name, text in tree.texts.items() if not re.search(r"(?:\A|/)readme[^/]*\Z", name, re.IGNORECASE)]
    if field == "port":
        return any(re.search(rf"(?<!\d){value}(?!\d)", text, re.ASCII) for text in said)
    if field == "health_path":
        return len(value) > 1 and any(re.search(rf"[\"'`]{re.escape(value)}[\"'`]", text) for text in said)
    same_program = _words(before.start_command, None)[:1] == value[:1]
    return same_program and len(value) == 2 and value[1] in tree.names  # noqa: PLR2004 a program and a file of the repository


def _redecided(proposal: Proposal, tree: Tree, before: BuildPlan | None, decided: dict[str, Any]) -> BuildPlan:
    if before is not None and before.kind != "detected":
        return _rerouted(proposal, before, decided)
    usual = _usual(tree)
    if before is not None and (usual is None or before.dockerfile != plan(tree, given=_kept(before, usual)).dockerfile):
        return _rerouted(proposal, before, decided)  # a Dockerfile that the model wrote itself
    kept = _kept(before, usual) if before and usual else Given()
    wanted = _given(decided)
    given = Given(
        port=wanted.port or kept.port,
        health_path=wanted.health_path or kept.health_path,
        start=wanted.start or kept.start,
        build=wanted.build or kept.build,
    )
    try:
        told = plan(tree, given=given)
    except CannotPlan as error:
        raise ValidationFailed(f"the model's answer is not enough: {error.message}", []) from None
    return _told(told, before, f"the model told {_listed(decided)}{_note(proposal)}")


def _usual(tree: Tree) -> BuildPlan | None:
    try:
        return plan(tree)
    except CannotPlan:
        return None


def _kept(before: BuildPlan, usual: BuildPlan) -> Given:
    """What was given for the plan before, told from what the rules say by themselves."""
    return Given(
        port=before.port if before.port != usual.port else None,
        health_path=before.health_path if before.health_path != usual.health_path else None,
        start=_words(before.start_command, usual.start_command),
        build=_words(before.build_command, usual.build_command),
    )


def _words(text: str | None, usual: str | None) -> tuple[str, ...]:
    if not text or text == usual:
        return ()
    try:
        return tuple(shlex.split(text))
    except ValueError:  # from a Dockerfile that a model wrote: no words of ours
        return ()


def _rerouted(proposal: Proposal, before: BuildPlan, decided: dict[str, Any]) -> BuildPlan:
    """Another port or health path; commands stand in a text that only a whole text replaces."""
    commands = [field for field in decided if field.endswith("_command")]
    if commands:
        message = "write the whole Dockerfile or compose file instead"
        raise ValidationFailed(f"the model's answer is refused: {message}", [finding(commands[0], "proposal", message)])
    changes = dict(decided)
    if before.kind != "compose" and "port" in decided:
        changes["compose"] = one_service(before.dockerfile_path or DOCKERFILE, decided["port"])
    changes["assumed"] = tuple(field for field in before.assumed if field not in decided)
    return _told(before.model_copy(update=changes), before, f"the model told {_listed(decided)}{_note(proposal)}")


def _of_dockerfile(proposal: Proposal, tree: Tree, before: BuildPlan | None) -> BuildPlan:
    text = proposal.dockerfile or ""
    port = proposal.port or exposed(text) or (before.port if before else 0)
    if not port:
        message = "EXPOSE the port, or tell it"
        raise ValidationFailed(f"the model's answer is refused: {message}", [finding("port", "proposal", message)])
    told = BuildPlan(
        kind="detected",
        stack=before.stack if before else "model",
        compose=one_service(DOCKERFILE, port),
        dockerfile=text if text.endswith("\n") else f"{text}\n",
        dockerfile_path=DOCKERFILE,
        dockerignore=None if tree.has(".dockerignore") else write.IGNORED,
        port=port,
        health_path=proposal.health_path or (before.health_path if before else None),
        start_command=command(text),
        base_images=base_images(text),
    )
    return _told(told, before, f"the model wrote the Dockerfile{_note(proposal)}")


def _of_compose(proposal: Proposal, before: BuildPlan | None) -> BuildPlan:
    text = proposal.compose or ""
    told = BuildPlan(
        kind="compose",
        stack=before.stack if before else "model",
        compose=text,
        port=routed_port(services_of(read_compose(text))),
        health_path=proposal.health_path or (before.health_path if before else None),
        base_images=_judged(text).images,
    )
    return _told(told, before, f"the model wrote the compose file{_note(proposal)}")


def _told(told: BuildPlan, before: BuildPlan | None, reason: str) -> BuildPlan:
    earlier = before.reasons if before else ()
    tokens = before.tokens_used if before else 0
    return told.model_copy(update={"reasons": (*earlier, reason), "tokens_used": tokens})


def _judged(text: str) -> compose.Plan:
    return compose.plan(
        text,
        {},
        service_id=_NOBODY,
        release=1,
        publish_ports=False,
        defaults=compose.Defaults(),
        repository=compose.Repository(folder="", image=_NOBODYS_IMAGE),
    )


def _listed(decided: dict[str, Any]) -> str:
    return ", ".join(
        f"{field} {shlex.join(value) if isinstance(value, tuple) else value}" for field, value in decided.items()
    )


def _note(proposal: Proposal) -> str:
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in proposal.notes or "").split())
    return f": {line[:_LONGEST_NOTE]}" if line else ""
