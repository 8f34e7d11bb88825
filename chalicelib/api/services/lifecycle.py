"""Start, stop and restart a service: the caller waits for its host, and is told what it showed then."""

from chalicelib.api import views
from chalicelib.api.contract import ASKS_HOST, Says
from chalicelib.api.http import Answer, Request, Routes
from chalicelib.api.services.access import customer_to_deploy_for, service_to_change
from chalicelib.deploy import start, upkeep
from chalicelib.domain.errors import HostTimeout, Unavailable
from chalicelib.domain.job import Kind
from chalicelib.wiring import adapters

routes = Routes(__name__)

_LIFECYCLE = {200: Says(views.ServiceSeen, ("X-Job-Id",)), 202: Says(views.ServicePending, ("X-Job-Id",))}


@routes.on(
    "POST",
    "/services/{service_id}/start",
    role="deployer",
    conditional=True,
    answers=_LIFECYCLE,
    raises=ASKS_HOST,
)
def start_service(request: Request, service_id: str) -> Answer:
    """Start its containers; the answer is what the host showed then."""
    return _lifecycle(request, service_id, "start")


@routes.on(
    "POST",
    "/services/{service_id}/stop",
    role="deployer",
    conditional=True,
    answers=_LIFECYCLE,
    raises=ASKS_HOST,
)
def stop_service(request: Request, service_id: str) -> Answer:
    """Stop its containers; the answer is what the host showed then."""
    return _lifecycle(request, service_id, "stop")


@routes.on(
    "POST",
    "/services/{service_id}/restart",
    role="deployer",
    conditional=True,
    answers=_LIFECYCLE,
    raises=ASKS_HOST,
)
def restart_service(request: Request, service_id: str) -> Answer:
    """Restart its containers; the answer is what the host showed then."""
    return _lifecycle(request, service_id, "restart")


def _lifecycle(request: Request, service_id: str, kind: Kind) -> Answer:
    service = service_to_change(service_id, request)
    if kind != "stop":
        customer_to_deploy_for(service.customer_id, request.caller)
    job = start.begin_lifecycle(service, kind, request.caller)
    headers = {"X-Job-Id": job.id}
    try:
        seen = adapters().host_calls.ask("lifecycle", job_id=job.id)
    except HostTimeout:
        message = "The host is still at work; the job tells how it ends"
        pending = views.ServicePending(id=service.id, status=service.status, message=message, deploy_job_id=job.id)
        return Answer(pending, 202, headers)
    except Unavailable as error:
        upkeep.end_for(adapters().jobs.get(job.id), error.code, error.message)
        raise
    return Answer(views.ServiceSeen(id=service.id, status=seen["status"], message=seen["message"]), 200, headers)
