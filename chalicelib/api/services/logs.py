"""A service's logs: the last lines of its containers."""

from pydantic import Field

from chalicelib.api import views
from chalicelib.api.contract import ASKS_HOST
from chalicelib.api.http import Request, Routes, TrueOrFalse, WireIn
from chalicelib.api.services.access import service_of
from chalicelib.domain.errors import UpgradeRequired
from chalicelib.domain.words import Time
from chalicelib.wiring import adapters

routes = Routes(__name__)


class ReadLogs(WireIn):
    tail: int = Field(100, ge=0, le=5000)
    since: Time | None = None
    follow: TrueOrFalse = False


@routes.on(
    "GET",
    "/services/{service_id}/logs",
    query=ReadLogs,
    answers={200: views.Logs},
    raises=(UpgradeRequired, *ASKS_HOST),
)
def read_logs(request: Request, service_id: str) -> views.Logs:
    """The last lines of its containers, stopped ones too."""
    service = service_of(service_id, request.caller)
    wanted = request.parameters(ReadLogs)
    if wanted.follow:
        raise UpgradeRequired("live logs come over a WebSocket, which is not available yet; read again with since=")
    answer = adapters().host_calls.ask("logs", service_id=service.id, tail=wanted.tail, since=wanted.since)
    return views.Logs(logs=answer["entries"], truncated=answer["truncated"])
