"""The Compose policy: from a customer's text to the one document that may run, or every reason why not.

`plan` reads, interpolates, judges and hardens; `judge` holds what a host's Compose made of the document against
it. Both are pure. Nothing of a file reaches a host but `Plan.document`, written by us from judged values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from chalicelib.domain.compose.findings import RULES, Finding, Verdict
from chalicelib.domain.compose.harden import hardened
from chalicelib.domain.compose.interpolate import Interpolation, check_names, escaped
from chalicelib.domain.compose.policy import judged
from chalicelib.domain.compose.read import MOST_BYTES, read
from chalicelib.domain.compose.release import Built, Defaults, Largest, Network, PublishedPort, Release, Routed
from chalicelib.domain.compose.resolved import judge


@dataclass(frozen=True)
class Plan:
    """What will run. `document` is written to the host as JSON; the rest is what Slipway must know of it.

    `defaulted` names the limits of `Defaults` that some container takes, because its author gave it none.
    """

    document: dict[str, Any]
    images: tuple[str, ...]
    routed: Routed | None
    published: tuple[PublishedPort, ...]
    networks: tuple[Network, ...]
    cpu_millis: int
    memory_mb: int
    largest: Largest
    containers: int
    defaulted: frozenset[str]
    warnings: tuple[Finding, ...]
    variables_used: frozenset[str]
    builds: tuple[Built, ...] = ()

    def keeping_unchanged(self, before: Mapping[str, Any]) -> "Plan":
        """The plan with the release label of the document `before` on every service that is otherwise the same.

        Compose replaces a container whose definition changed, and the label is part of it: a release that changes
        nothing of a database must not restart it.
        """
        earlier = before["services"]
        services = {
            name: earlier[name] if name in earlier and unlabelled(service) == unlabelled(earlier[name]) else service
            for name, service in self.document["services"].items()
        }
        return replace(self, document={**self.document, "services": services})


@dataclass(frozen=True)
class Repository:
    """Where a text comes from that may build: the folder it lies in, and how the images are called."""

    folder: str
    image: str


def plan(
    text: str,
    variables: Mapping[str, str],
    *,
    service_id: str,
    release: int,
    publish_ports: bool,
    defaults: Defaults,
    expose: tuple[str | None, int] | None = None,
    repository: Repository | None = None,
) -> Plan:
    """The plan for a release. Raises ValidationFailed with `details=[{path, rule, message}, …]`, every finding.

    A text of a `repository` may build images from it.
    """
    tree = read(text)
    verdict = Verdict(folder=repository.folder if repository else None)
    check_names(variables, verdict)
    # Compose gives every file its project's name, whatever else is reserved.
    interpolation = Interpolation({**variables, "COMPOSE_PROJECT_NAME": service_id}, verdict)
    project = judged(interpolation.tree(tree, ""), verdict)
    verdict.settle()
    built = repository.image if repository else None
    wanted = Release(service_id, release, publish_ports, defaults, expose, built)
    result = hardened(project, wanted, interpolation, verdict)
    verdict.settle()
    return Plan(
        document=escaped(result.document),
        images=result.images,
        routed=result.routed,
        published=result.published,
        networks=result.networks,
        cpu_millis=result.cpu_millis,
        memory_mb=result.memory_mb,
        largest=result.largest,
        containers=result.containers,
        defaulted=result.defaulted,
        warnings=tuple(verdict.warned),
        variables_used=frozenset(interpolation.used - {"COMPOSE_PROJECT_NAME"}),
        builds=result.builds,
    )


def check_variables(variables: Mapping[str, str]) -> None:
    """Raise ValidationFailed for names and values that no container can be given."""
    verdict = Verdict()
    check_names(variables, verdict)
    verdict.settle()


def unlabelled(service: Mapping[str, Any]) -> dict[str, Any]:
    """A document's service without its release's number, which differs in each release."""
    labels = {name: value for name, value in service["labels"].items() if name != "slipway.release"}
    return {**service, "labels": labels}


__all__ = [
    "MOST_BYTES",
    "RULES",
    "Built",
    "Defaults",
    "Finding",
    "Largest",
    "Network",
    "Plan",
    "PublishedPort",
    "Repository",
    "Routed",
    "check_variables",
    "escaped",
    "judge",
    "plan",
    "read",
    "unlabelled",
]
