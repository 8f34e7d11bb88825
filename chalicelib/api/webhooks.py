"""/webhooks: pushes, as repositories' hosts tell of them. Who sends one is proved by its signature, not by a token."""

from chalicelib.api import views
from chalicelib.api.http import Answer, Request, Routes
from chalicelib.api.services.access import service_to_change
from chalicelib.deploy import pushes
from chalicelib.domain import push
from chalicelib.domain.errors import Conflict, InvalidRequest, NotFound, TooLarge, Unauthorized
from chalicelib.wiring import adapters

routes = Routes(__name__)

# A push of many commits is told at length; API Gateway takes no more than this.
_MOST_BYTES = 10 << 20


@routes.on("POST", "/services/{service_id}/webhook", role="deployer", answers={201: views.Webhook})
def create_webhook(request: Request, service_id: str) -> Answer:
    """Make the secret by which its repository's host proves that it tells of pushes. An earlier one ends."""
    service = service_to_change(service_id, request)
    if service.repository is None:
        raise Conflict("this service is not deployed from a repository, so no push concerns it")
    paths = {provider: f"/api/webhooks/{service.id}/{provider}" for provider in push.PROVIDERS}
    return Answer(views.Webhook(secret=pushes.new_secret(service), paths=views.WebhookPaths(**paths)), 201)  # type: ignore[typeddict-item]


@routes.on(
    "POST",
    "/webhooks/{service_id}/{provider}",
    role=None,
    answers={200: views.Pushed, 202: views.Pushed},
    raises=(InvalidRequest, Unauthorized, NotFound, Conflict, TooLarge),
)
def take_webhook(request: Request, service_id: str, provider: str) -> Answer:
    """A push, told by `github`, `gitlab` or `gitea`. The service's branch is deployed, once for each delivery."""
    if provider not in push.PROVIDERS:
        raise NotFound("no such webhook")
    if len(request.raw_body) > _MOST_BYTES:
        raise TooLarge(f"the body has {len(request.raw_body)} bytes; the limit is {_MOST_BYTES}")
    push.proved(provider, request.headers, request.raw_body, pushes.secret_of(service_id))
    told = push.read(provider, request.headers, request.raw_body)
    taken = pushes.take(adapters().services.get(service_id), told)
    body = views.Pushed(deploys=taken.deploys, deploy_job_id=taken.job_id, message=taken.message)
    return Answer(body, 202 if taken.deploys else 200)
