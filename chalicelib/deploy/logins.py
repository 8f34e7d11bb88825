"""A customer's registry logins where a job pulls: which it needs, who may use what is there, why a registry said no."""

import re
from collections.abc import Iterable, Mapping

from chalicelib.commands import kit
from chalicelib.domain.errors import ImageUnavailable
from chalicelib.domain.registry import Registry, canonical, id_of
from chalicelib.hostkit.pull import registry_of
from chalicelib.wiring import adapters

# Registries word it as they like; these are Docker's, Docker Hub's and the distribution specification's words.
_NO_ACCESS = re.compile(
    "unauthorized|denied|forbidden|authentication required|no basic auth|incorrect username or password", re.IGNORECASE
)


def logins_for(customer_id: str, images: Iterable[str]) -> dict[str, kit.Login]:
    """The customer's own logins, unsealed, at the registries of these images, by their names in them."""
    ids = {registry: id_of(customer_id, registry) for registry in map(registry_of, images)}
    found = adapters().registries.find(set(ids.values()))
    return {registry: _login(found[login_id]) for registry, login_id in ids.items() if login_id in found}


def closed_to(customer_id: str, images: Iterable[str]) -> set[str]:
    """Those of the images that lie on hosts by somebody else's login: the registry must say whether this one may."""
    by_repository: dict[str, set[str]] = {}
    for image in images:
        by_repository.setdefault(repository_of(image), set()).add(image)
    closed = adapters().registries.closed_to(customer_id, by_repository)
    return {image for repository in closed for image in by_repository[repository]}


def will_pull(customer_id: str, images: Iterable[str], logins: Mapping[str, kit.Login]) -> None:
    adapters().registries.will_pull(customer_id, _by_login(images, logins))


def has_pulled(customer_id: str, images: Iterable[str], logins: Mapping[str, kit.Login]) -> None:
    adapters().registries.has_pulled(customer_id, _by_login(images, logins))


def explained(error: ImageUnavailable, images: Iterable[str], logins: Mapping[str, kit.Login]) -> ImageUnavailable:
    """The error with what to do about it, if a registry gave no access."""
    image = next((image for image in images if error.message.startswith(f"error: {image}: ")), None)
    if image is None or not _NO_ACCESS.search(error.message.removeprefix(f"error: {image}: ")):
        return error
    registry = canonical(registry_of(image))
    login = logins.get(registry_of(image))
    if login:
        hint = (
            f"{registry} refused the customer's credentials (user {login['username']}), or they give no access to this "
            "image: delete them and store others (DELETE and POST /api/registries)"
        )
    else:
        hint = f"if the image is private, store the customer's credentials for {registry} (POST /api/registries)"
    return ImageUnavailable(f"{error.message}; {hint}", {**error.details, "registry": registry, "hint": hint})


def repository_of(image: str) -> str:
    """What an image is a tag or digest of, in full: `redis:7` is one of `docker.io/library/redis`."""
    registry = registry_of(image)
    path = image.partition("@")[0].removeprefix(f"{registry}/")
    name = path if ":" not in path.rpartition("/")[2] else path.rpartition(":")[0]
    place = canonical(registry)
    return f"{place}/library/{name}" if place == "docker.io" and "/" not in name else f"{place}/{name}"


def _by_login(images: Iterable[str], logins: Mapping[str, kit.Login]) -> set[str]:
    return {repository_of(image) for image in images if registry_of(image) in logins}


def _login(registry: Registry) -> kit.Login:
    password = adapters().sealer.unseal(registry.sealed_password, registry.id).decode()
    return kit.Login(username=registry.username, password=password)
