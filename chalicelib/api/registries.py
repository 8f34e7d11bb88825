"""/registries: a customer's credentials for private images. What is stored here is used by pulls, and never shown."""

from typing import Annotated

from pydantic import AfterValidator, Field

from chalicelib.api import views
from chalicelib.api.contract import Says
from chalicelib.api.http import Answer, Request, Routes, WireIn
from chalicelib.api.pages import Paged
from chalicelib.domain.errors import Conflict, NotFound, ValidationFailed
from chalicelib.domain.registry import Registry, id_of, parse_registry
from chalicelib.domain.words import NO_CONTROLS, finding, now
from chalicelib.wiring import adapters

routes = Routes(__name__)


class ListRegistries(Paged):
    customer_id: str | None = Field(None, max_length=100)


class CreateRegistry(WireIn):
    customer_id: str
    registry: Annotated[str, Field(max_length=255), AfterValidator(parse_registry)]
    # HTTP's basic authentication ends a name at its first colon.
    username: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^:\x00-\x1f\x7f]+$")]
    # Some clouds' are tokens of several KB. A control character (RFC 7617 has none) is a slip: a file's last newline.
    password: Annotated[str, Field(min_length=1, max_length=16_384, pattern=NO_CONTROLS)]


@routes.on("GET", "/registries", role="admin", query=ListRegistries, answers={200: views.RegistryPage})
def list_registries(request: Request) -> views.RegistryPage:
    """The credentials that there are, without their passwords."""
    wanted = request.parameters(ListRegistries)
    found = [one for one in adapters().registries.all() if wanted.customer_id in (None, one.customer_id)]
    found.sort(key=lambda one: one.created_at)
    shown = [_view(one) for one in wanted.of(found)]
    return views.RegistryPage(data=shown, total=len(found), page=wanted.page, per_page=wanted.per_page)


@routes.on(
    "POST",
    "/registries",
    role="admin",
    body=CreateRegistry,
    answers={201: Says(views.Registry, ("Location",))},
    raises=(Conflict,),
)
def create_registry(request: Request) -> Answer:
    """Store a customer's credentials for a registry. Whether they are right shows when an image is pulled."""
    wanted = request.body(CreateRegistry)
    registry_id = id_of(wanted.customer_id, wanted.registry)
    registry = Registry(
        id=registry_id,
        customer_id=wanted.customer_id,
        registry=wanted.registry,
        username=wanted.username,
        sealed_password=adapters().sealer.seal(wanted.password.encode(), registry_id),
        created_at=now(),
    )
    try:
        adapters().registries.add(registry)
    except NotFound:
        raise ValidationFailed(
            "no such customer", [finding("customer_id", "unknown", "there is no such customer")]
        ) from None
    return Answer(_view(registry), 201, {"Location": f"/api/registries/{registry.id}"})


@routes.on("GET", "/registries/{registry_id}", role="admin", answers={200: views.Registry})
def get_registry(request: Request, registry_id: str) -> views.Registry:
    """One customer's credentials for a registry, without the password."""
    return _view(adapters().registries.get(registry_id))


@routes.on("DELETE", "/registries/{registry_id}", role="admin", answers={204: Says(None)})
def delete_registry(request: Request, registry_id: str) -> Answer:
    """Forget the credentials. What runs goes on; a pull that needs them fails from here on."""
    adapters().registries.remove(registry_id)
    return Answer(None, 204)


def _view(registry: Registry) -> views.Registry:
    return views.Registry(
        id=registry.id,
        customer_id=registry.customer_id,
        registry=registry.registry,
        username=registry.username,
        created_at=registry.created_at,
    )
