"""GET /services/{id}: one service, with what its host shows of it."""

from chalicelib.api import views
from chalicelib.api.contract import Says
from chalicelib.api.http import Answer, Request, Routes
from chalicelib.api.services.access import service_of
from chalicelib.api.services.plans import url_of
from chalicelib.api.versions import etag
from chalicelib.deploy import drafting
from chalicelib.domain.errors import SlipwayError
from chalicelib.domain.observing import unreachable
from chalicelib.domain.redaction import looks_secret
from chalicelib.domain.service import Limits, Observation, Service
from chalicelib.domain.words import now, seconds_since
from chalicelib.wiring import adapters

routes = Routes(__name__)

HIDDEN = "********"
# A service that is read alone is measured then, unless that was done this recently.
_FRESH_SECONDS = 5


@routes.on("GET", "/services/{service_id}", answers={200: Says(views.Service, ("ETag",))})
def get_service(request: Request, service_id: str) -> Answer:
    """One service, measured now or up to 5 s before."""
    service = service_of(service_id, request.caller)
    service, seen = _observed(service)
    return Answer(_view(service, seen), headers=etag(service.version))


def _observed(service: Service) -> tuple[Service, Observation | None]:
    """What the host shows of the service now, or showed a moment ago; its status is put right by it."""
    pair = [(service.host_id, service.id)]
    seen = adapters().services.observations(pair, consistent=False).get(service.id)
    never_ran = seen is None and service.status == "deploying"
    if never_ran or (seen and seconds_since(seen.measured_at) < _FRESH_SECONDS and _is_whole(seen, service)):
        return service, seen
    try:
        found = adapters().host_calls_quick.ask("reconcile", host_id=service.host_id, service_ids=[service.id])
    except SlipwayError as error:
        # Reading must not fail because a host does: what cannot be seen is unknown, and said to be.
        unseen = unreachable(now(), seen, f"the host could not be asked: {error.message}")
        adapters().services.observe(service.host_id, {service.id: unseen})
        return service, unseen
    if found["corrected"]:
        service = adapters().services.get(service.id)
    return service, adapters().services.observations(pair).get(service.id)


def _is_whole(seen: Observation, service: Service) -> bool:
    """A deploy is in too much of a hurry to measure what takes a while; the first to read has it done."""
    return service.status != "running" or None not in (seen.cpu_usage_millis, seen.storage_mb)


def _view(service: Service, seen: Observation | None) -> views.Service:
    variables = drafting.variables_of(service)
    hidden = {name for name in variables if name in service.secret_names or looks_secret(name)}
    return views.Service(
        id=service.id,
        name=service.name,
        status=service.status,
        url=url_of(service.name, has_url=service.has_url),
        customer_id=service.customer_id,
        customer_name=adapters().customers.glance(service.customer_id).name,
        host_id=service.host_id,
        template=service.template,
        deploy_method=service.deploy_method,
        compose=service.compose,
        variables={name: HIDDEN if name in hidden else value for name, value in variables.items()},
        custom_domains=list(service.custom_domains),
        release=service.release or None,
        limits=_limits_view(service.limits),
        resources=_resources_view(seen or Observation(measured_at="")),
        health=views.ServiceHealth(
            status=seen.health if seen else "unknown",
            last_check=seen.measured_at if seen else None,
            consecutive_failures=seen.consecutive_failures if seen else 0,
            message=seen.health_message if seen else "",
        ),
        created_at=service.created_at,
        updated_at=service.updated_at,
        deployed_at=service.deployed_at,
    )


def _resources_view(seen: Observation) -> views.Resources:
    found = seen.resources()
    return views.Resources(
        cpu_usage=found["cpu_usage"],
        cpu_limit=found["cpu_limit"],
        memory_usage_mb=found["memory_usage_mb"],
        memory_limit_mb=found["memory_limit_mb"],
        storage_mb=found["storage_mb"],
    )


def _limits_view(limits: Limits) -> views.ServiceLimits:
    cpu = limits.cpu_millis / 1000 if limits.cpu_millis else None
    return views.ServiceLimits(cpu=cpu, memory_mb=limits.memory_mb)
