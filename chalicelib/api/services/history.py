"""What a service was: its kept releases and its timeline."""

from chalicelib.api import views
from chalicelib.api.http import Request, Routes
from chalicelib.api.pages import Paged
from chalicelib.api.services.access import service_of
from chalicelib.domain.service import Event, Release, Service
from chalicelib.wiring import adapters

routes = Routes(__name__)


@routes.on("GET", "/services/{service_id}/releases", query=Paged, answers={200: views.ReleasePage})
def list_releases(request: Request, service_id: str) -> views.ReleasePage:
    """The kept releases, newest first."""
    service = service_of(service_id, request.caller)
    wanted = request.parameters(Paged)
    releases = adapters().services.releases(service.id)
    data = [_release_view(release, service) for release in wanted.of(releases)]
    return views.ReleasePage(data=data, total=len(releases), page=wanted.page, per_page=wanted.per_page)


@routes.on("GET", "/services/{service_id}/events", query=Paged, answers={200: views.EventPage})
def list_events(request: Request, service_id: str) -> views.EventPage:
    """Its timeline, newest first."""
    service = service_of(service_id, request.caller)
    wanted = request.parameters(Paged)
    events, total = adapters().services.events(service.id, wanted.page, wanted.per_page)
    data = [_event_view(event) for event in events]
    return views.EventPage(data=data, total=total, page=wanted.page, per_page=wanted.per_page)


def _release_view(release: Release, service: Service) -> views.Release:
    return views.Release(
        number=release.number,
        state=release.state,
        kind=release.kind,
        changed=list(release.changed),
        variables=list(release.variables),
        limits=views.PlanLimits(cpu=release.cpu_millis / 1000, memory_mb=release.memory_mb),
        running=release.number == service.release,
        images=list(release.images),
        digests=list(release.digests),
        commit=release.commit,
        reasons=list(release.reasons),
        job_id=release.job_id,
        created_at=release.created_at,
    )


def _event_view(event: Event) -> views.Event:
    return views.Event(
        id=event.id,
        type=event.type,
        status=event.status,
        message=event.message,
        timestamp=event.timestamp,
        job_id=event.job_id,
    )
