"""/health: whether this API and its table answer. For load balancers and monitors; no token is needed."""

from chalicelib.api import views
from chalicelib.api.http import Request, Routes
from chalicelib.wiring import adapters

routes = Routes(__name__)


@routes.on("GET", "/health", role=None, answers={200: views.Alive})
def health(request: Request) -> views.Alive:
    """200 if the table answers, 503 if not."""
    adapters().table.get(("HEALTH", "HEALTH"))
    return views.Alive(status="ok")
