"""/registries: a customer's credentials for private images. What is stored here is used by pulls, and never shown."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field

from chalicelib.api.http import Answer, Request, Routes, WireIn
from chalicelib.domain.errors import NotFound, ValidationFailed
from chalicelib.domain.registry import Registry, id_of, parse_registry
from chalicelib.domain.words import finding, now
from chalicelib.wiring import adapters

routes = Routes(__name__)


class ListRegistries(WireIn):
    customer_id: str | None = Field(None, max_length=100)


class CreateRegistry(WireIn):
    customer_id: str
    registry: Annotated[str, Field(max_length=255), AfterValidator(parse_registry)]
    # HTTP's basic authentication ends a name at its first colon.
    username: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^:\x00-\x1f\x7f]+$")]
    password: Annotated[str, Field(min_length=1, max_length=16_384)]  # some clouds' are tokens of several KB


@routes.on("GET", "/registries", role="admin")
def list_registries(request: Request) -> Any:
    wanted = request.parameters(ListRegistries)
    found = [one for one in adapters().registries.all() if wanted.customer_id in (None, one.customer_id)]
    views = [_view(one) for one in sorted(found, key=lambda one: one.created_at)]
    return {"data": views, "total": len(views), "page": 1, "per_page": len(views)}


@routes.on("POST", "/registries", role="admin")
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


@routes.on("GET", "/registries/{registry_id}", role="admin")
def get_registry(request: Request, registry_id: str) -> Any:
    return _view(adapters().registries.get(registry_id))


@routes.on("DELETE", "/registries/{registry_id}", role="admin")
def delete_registry(request: Request, registry_id: str) -> Answer:
    """Forget the credentials. What runs goes on; a pull that needs them fails from here on."""
    adapters().registries.remove(registry_id)
    return Answer(None, 204)


def _view(registry: Registry) -> dict[str, Any]:
    return registry.model_dump(include={"id", "customer_id", "registry", "username", "created_at"})
