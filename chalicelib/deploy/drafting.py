"""A release as it would be: what a caller wants, planned, placed and held to the limits. Nothing is stored here.

What is deployed from a repository is planned by its job, once the repository was fetched. Until then its draft promises
it one container's limits, and knows no more of it.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from chalicelib.deploy.placing import Place, Wish, find_place, hold_to_limits, hold_to_machine
from chalicelib.deploy.refusals import Refusals
from chalicelib.deploy.sizes import packed_source, packed_variables, refuse_too_large
from chalicelib.domain.errors import Conflict, NotFound, ValidationFailed
from chalicelib.domain.git import Credentials, Repository
from chalicelib.domain.panel import Caller
from chalicelib.domain.placement import Amount, Need
from chalicelib.domain.redaction import looks_secret
from chalicelib.domain.service import (
    DeployMethod,
    HealthCheck,
    Limits,
    Release,
    Service,
    Source,
)
from chalicelib.domain.template import Called, Template
from chalicelib.domain.words import finding, new_id, now
from chalicelib.wiring import adapters

if TYPE_CHECKING:
    from chalicelib.domain import compose

# What callers call a limit.
_FIELDS = {"cpu_millis": "cpu", "memory_mb": "memory_mb"}
_NOTHING = Amount(cpu_millis=0, memory_mb=0, disk_mb=0)


@dataclass(frozen=True)
class NewService:
    """What a caller wants deployed; `template` where the compose text came from one."""

    name: str
    customer_id: str
    deploy_method: DeployMethod
    compose: str
    variables: Mapping[str, str]
    secret_names: tuple[str, ...] = ()
    template: Template | None = None
    wish: Wish = field(default_factory=Wish)
    limits: Limits = field(default_factory=Limits)
    repository: Repository | None = None
    credentials: Credentials = field(default_factory=Credentials)


@dataclass(frozen=True)
class Change:
    """What a caller wants otherwise; None leaves it, and a variable set to None is taken away."""

    name: str | None = None
    compose: str | None = None
    variables: Mapping[str, str | None] | None = None
    secret_names: tuple[str, ...] = ()
    limits: Limits | None = None
    repository: Mapping[str, Any] = field(default_factory=dict)
    credentials: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def is_of_sources(self) -> bool:
        """Whether other sources are wanted, rather than the same ones run otherwise."""
        return bool(self.repository)


@dataclass(frozen=True)
class Draft:
    """A release as it would be, before anything is stored."""

    service: Service
    plan: "compose.Plan"
    source: Source
    name: str
    wish: Wish = field(default_factory=Wish)
    place: Place | None = None
    changed: tuple[str, ...] = ()  # in which the service would be made of something else than by now

    @property
    def need(self) -> Amount:
        """What it is promised of its host."""
        return amount_of(self.plan)

    @property
    def warnings(self) -> "tuple[compose.Finding, ...]":
        return self.plan.warnings


def draft(wanted: NewService, caller: Caller) -> Draft:
    """The first release of a new service. Raise what refuses it; nothing is stored."""
    service = _as_wanted(wanted, caller)
    source = Source(
        compose=wanted.compose,
        variables=dict(wanted.variables),
        secret_names=service.secret_names,
        limits=wanted.limits,
        document={},
        repository=wanted.repository,
        credentials=wanted.credentials,
    )
    refusals = Refusals()
    drafted = refusals.of("compose", lambda: _drafted(service, wanted.name, source, 1))
    template = wanted.template
    if drafted and template:
        refusals.of("limits", lambda: _refuse_below_needs(template, wanted.limits, drafted.plan))
    need = Need(drafted.need, largest_of(drafted.plan)) if drafted else Need(_NOTHING, _NOTHING)
    refusals.of("name", lambda: _refuse_taken_name(wanted.name))
    customer = adapters().customers.get(wanted.customer_id)
    refusals.of("limits", lambda: hold_to_limits(customer, need.total, 1))
    place = refusals.of("host_id" if wanted.wish.host_id else "host_labels", lambda: find_place(need, wanted.wish))
    if refusals or drafted is None or place is None:
        raise refusals.together()
    return _at(place, replace(drafted, wish=wanted.wish))


def _as_wanted(wanted: NewService, caller: Caller) -> Service:
    """The service as it would be, on no host yet."""
    expose = wanted.template.expose if wanted.template else None
    check = wanted.template.healthcheck if wanted.template else None
    created = now()
    return Service(
        id=new_id("svc"),
        name=wanted.name,
        status="deploying",
        customer_id=wanted.customer_id,
        host_id="",
        deploy_method=wanted.deploy_method,
        template=wanted.template.id if wanted.template else None,
        repository=wanted.repository,
        compose=wanted.compose,
        sealed_variables=b"",
        secret_names=_secret_names(wanted.secret_names, wanted.variables),
        limits=wanted.limits,
        publishes_ports=caller.role == "admin",
        expose_service=expose.service if expose else None,
        expose_port=expose.port if expose else None,
        health_check=HealthCheck(path=check.path, port=check.port or expose.port, timeout_seconds=check.timeout_seconds)
        if check and expose
        else None,
        last_release=1,
        created_at=created,
        updated_at=created,
    )


def draft_change(service: Service, change: Change) -> Draft:
    """The release that a change would make. Raise what refuses it; nothing is stored."""
    _refuse_what_is_not_its_own(service, change)
    name, stored, credentials = change.name or service.name, variables_of(service), credentials_of(service)
    variables = _changed_variables(service, stored, change.variables or {}, name)
    refusals = Refusals()
    if name != service.name:
        refusals.of("name", lambda: _refuse_taken_name(name))
    present = Source(
        compose=service.compose,
        variables=stored,
        secret_names=service.secret_names,
        limits=service.limits,
        document={},
        repository=service.repository,
        credentials=credentials,
    )
    source = Source(
        compose=change.compose if change.compose is not None else service.compose,
        variables=variables,
        secret_names=_secret_names((*service.secret_names, *change.secret_names), variables),
        limits=change.limits or service.limits,
        document={},
        repository=service.repository.model_copy(update=dict(change.repository)) if service.repository else None,
        credentials=credentials.model_copy(update=dict(change.credentials)),
    )
    drafted = refusals.of("compose", lambda: _drafted(service, name, source, service.last_release + 1))
    if drafted is None:  # no more can be known
        raise refusals.together()
    if change.limits not in (None, service.limits) and (template := _template_of(service)):
        refusals.of("limits", lambda: _refuse_below_needs(template, source.limits, drafted.plan))
    refusals.of("limits", lambda: hold_to_machine(service.host_id, largest_of(drafted.plan)))
    more = larger(service.promised, drafted.need).minus(service.promised)
    refusals.of("limits", lambda: _refuse_below_use(drafted))
    refusals.of("limits", lambda: hold_to_limits(adapters().customers.get(service.customer_id), more, 0))
    if refusals:
        raise refusals.together()
    renamed = () if name == service.name else ("name",)
    return replace(drafted, changed=(*renamed, *_differences(present, source)))


def _refuse_what_is_not_its_own(service: Service, change: Change) -> None:
    """What a service is made of decides what of it can be changed."""
    if change.compose is not None and service.template:
        message = "its text comes from a template; change its variables, or deploy a service of your own text"
        raise ValidationFailed(message, [finding("compose", "from-template", message)])
    if (change.repository or change.credentials) and not service.repository:
        message = "it is not deployed from a repository, so there is no git_ field to change"
        raise ValidationFailed(message, [finding("git_branch", "no-repository", message)])
    if change.compose is not None and service.repository:
        message = "its text comes from its repository; change it there, or deploy a service of your own text"
        raise ValidationFailed(message, [finding("compose", "from-repository", message)])


def _differences(before: Source, after: Source) -> tuple[str, ...]:
    """Where two releases are made of something else, in words of a request."""
    words = {"secret_names": "secret_variables"}
    fields = ("compose", "variables", "secret_names", "limits", "repository", "credentials")
    return tuple(words.get(field, field) for field in fields if getattr(before, field) != getattr(after, field))


def placed(drafted: Draft) -> Draft:
    """The draft with a host that has room for it."""
    return _at(find_place(Need(drafted.need, largest_of(drafted.plan)), drafted.wish), drafted)


def _at(place: Place, drafted: Draft) -> Draft:
    has_url = drafted.plan.routed is not None or drafted.service.repository is not None
    changes = {"host_id": place.host_id, "promised": drafted.need, "has_url": has_url}
    return replace(drafted, place=place, service=drafted.service.model_copy(update=changes))


def hidden(drafted: Draft) -> Draft:
    """The change as the first release of a service of its own, to be planned beside the one that runs."""
    service = drafted.service.model_copy(
        update={"id": new_id("svc"), "release": 0, "last_release": 1, "promised": drafted.need, "version": 1}
    )
    return replace(drafted, service=service)


def _drafted(service: Service, name: str, source: Source, number: int) -> Draft:
    plan = _plan(service, source, number) if source.repository is None else _to_come(source)
    if service.release and source.repository is None:
        plan = plan.keeping_unchanged(source_of(service.id, service.release).document)
    source = source.model_copy(update={"document": plan.document})
    refuse_too_large(source)
    return Draft(service, plan, source, name)


def _plan(service: Service, source: Source, release: int) -> "compose.Plan":
    # Imported here: most requests read, and a cold start should not pay 20 ms for a policy and a YAML parser.
    from chalicelib.domain import compose  # noqa: PLC0415

    planned = compose.plan(
        source.compose,
        source.variables,
        service_id=service.id,
        release=release,
        publish_ports=service.publishes_ports,
        defaults=defaults_of(source),
        expose=(service.expose_service, service.expose_port) if service.expose_port else None,
    )
    return telling_unused_limits(planned, source.limits)


def telling_unused_limits(plan: "compose.Plan", limits: Limits) -> "compose.Plan":
    """The plan with a warning for each limit that is asked for and that no container takes."""
    from chalicelib.domain import compose  # noqa: PLC0415 - as above

    unused = tuple(
        compose.Finding(
            f"limits.{_FIELDS[name]}", "not-applied", "the text gives every container a limit of its own, which stands"
        )
        for name, limit in limits.model_dump().items()
        if limit is not None and name not in plan.defaulted
    )
    return replace(plan, warnings=(*plan.warnings, *unused))


def defaults_of(source: Source) -> "compose.Defaults":
    """The limits of a container whose author gave none."""
    from chalicelib.domain import compose  # noqa: PLC0415 - as above

    settings = adapters().settings
    return compose.Defaults(
        cpu_millis=source.limits.cpu_millis or settings.default_cpu_millis,
        memory_mb=source.limits.memory_mb or settings.default_memory_mb,
        pids=settings.default_pids,
    )


def _to_come(source: Source) -> "compose.Plan":
    """What is known before the repository is: the variables' names, and one container's limits."""
    from chalicelib.domain import compose  # noqa: PLC0415 - as above

    compose.check_variables(source.variables)
    limits = defaults_of(source)
    return compose.Plan(
        document={},
        images=(),
        routed=None,
        published=(),
        networks=(),
        cpu_millis=limits.cpu_millis,
        memory_mb=limits.memory_mb,
        largest=compose.Largest(limits.cpu_millis, limits.memory_mb),
        containers=1,
        defaulted=frozenset(Limits.model_fields),
        warnings=(),
        variables_used=frozenset(),
    )


def _changed_variables(
    service: Service, stored: dict[str, str], changes: Mapping[str, str | None], name: str
) -> dict[str, str]:
    template = _template_of(service) if changes or name != service.name else None
    if template:
        stored = template.chosen(stored, called(service.name))
    values = {variable: value for variable, value in {**stored, **changes}.items() if value is not None}
    return template.values(values, called(name)) if template else values


def _template_of(service: Service) -> Template | None:
    """The template as it is now; None if it was removed: the service has its text."""
    try:
        return adapters().templates.get(service.template) if service.template else None
    except NotFound:
        return None


def called(name: str) -> Called:
    """How a service of this name is called by its template's text."""
    settings = adapters().settings
    return Called(name=name, host_name=settings.host_name_of(name), url=settings.url_of(name))


def _secret_names(given: tuple[str, ...], variables: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(sorted({*given, *filter(looks_secret, variables)}))


def _refuse_taken_name(name: str) -> None:
    """Before sealing and storing; the transaction decides, this only answers sooner."""
    if adapters().services.id_of_name(name):
        raise Conflict(f"a service named {name} exists already")


def _refuse_below_use(drafted: Draft) -> None:
    """A limit below what it uses now would have it killed at once."""
    service, limit = drafted.service, drafted.plan.memory_mb
    seen = adapters().services.observations([(service.host_id, service.id)]).get(service.id)
    if limit < service.promised.memory_mb and seen and (seen.memory_usage_mb or 0) > limit:
        message = f"the service uses {seen.memory_usage_mb} MB of memory now, which {limit} MB would not hold"
        raise ValidationFailed(message, [finding("limits.memory_mb", "below-use", message)])


def _refuse_below_needs(template: Template, limits: Limits, plan: "compose.Plan") -> None:
    """A limit below what the template says it needs, whether its containers would take it or have their own."""
    least = template.min_resources
    needs = {"cpu_millis": round(least.cpu * 1000), "memory_mb": least.memory_mb}
    comes_to = {"cpu_millis": plan.cpu_millis, "memory_mb": plan.memory_mb}
    below = []
    for name, limit in limits.model_dump().items():
        total = comes_to[name] if name in plan.defaulted else (limit or 0) * plan.containers
        if limit is not None and total < needs[name]:
            per, unit = (1000, "cores") if name == "cpu_millis" else (1, "MB of memory")
            message = f"the template needs {needs[name] / per:g} {unit}, and this would come to {total / per:g}"
            below.append(finding(f"limits.{_FIELDS[name]}", "below-needs", message))
    if below:
        raise ValidationFailed(below[0]["message"], below)


def amount_of(sized: "Release | compose.Plan") -> Amount:
    """What a release is promised of its host."""
    disk = adapters().settings.default_disk_mb
    return Amount(cpu_millis=sized.cpu_millis, memory_mb=sized.memory_mb, disk_mb=disk)


def largest_of(plan: "compose.Plan") -> Amount:
    """The most that one of its containers may take."""
    return Amount(cpu_millis=plan.largest.cpu_millis, memory_mb=plan.largest.memory_mb)


def larger(one: Amount, other: Amount) -> Amount:
    """Room for both, as long as it is not known which will run."""
    return Amount(
        cpu_millis=max(one.cpu_millis, other.cpu_millis),
        memory_mb=max(one.memory_mb, other.memory_mb),
        disk_mb=max(one.disk_mb, other.disk_mb),
    )


def variables_of(service: Service) -> dict[str, str]:
    """The service's variables, unsealed."""
    values: dict[str, str] = json.loads(adapters().sealer.unseal(service.sealed_variables, service.id))
    return values


def credentials_of(service: Service) -> Credentials:
    """What opens the service's repository, unsealed."""
    if service.sealed_credentials is None:
        return Credentials()
    return Credentials.model_validate_json(adapters().sealer.unseal(service.sealed_credentials, service.id))


def sealed_credentials(service_id: str, credentials: Credentials) -> bytes | None:
    """None where there are none: most repositories are public."""
    if credentials == Credentials():
        return None
    return adapters().sealer.seal(credentials.model_dump_json().encode(), service_id)


def sealed_source(source: Source, service_id: str) -> bytes:
    return adapters().sealer.seal(packed_source(source), service_id)


def source_of(service_id: str, number: int) -> Source:
    """What a release was made of, unsealed."""
    sealed = adapters().services.source(service_id, number)
    return Source.model_validate_json(zlib.decompress(adapters().sealer.unseal(sealed, service_id)))


def sealed_variables(service_id: str, variables: Mapping[str, str]) -> bytes:
    return adapters().sealer.seal(packed_variables(variables), service_id)
