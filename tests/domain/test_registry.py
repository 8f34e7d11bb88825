"""How registries are named."""

import re

import pytest

from chalicelib.domain.registry import id_of, parse_registry


@pytest.mark.parametrize(
    ("text", "registry"),
    [
        ("docker.io", "docker.io"),
        ("index.docker.io", "docker.io"),
        ("GHCR.io", "ghcr.io"),
        ("registry:5000", "registry:5000"),
        ("localhost", "localhost"),
        ("10.0.0.7:5000", "10.0.0.7:5000"),
        ("a.b:65535", "a.b:65535"),
    ],
)
def test_a_registry_is_named_as_images_name_it(text: str, registry: str) -> None:
    assert parse_registry(text) == registry


@pytest.mark.parametrize(
    "text",
    [
        "",
        "team",
        "https://ghcr.io",
        "ghcr.io/",
        "ghcr.io:",
        "-a.b",
        "a..b",
        "ghcr.io\n",
        "ü.de",
        "a.b:123456",
        "a.b:65536",
        "a.b:0",
    ],
)
def test_what_no_image_names_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must"):
        parse_registry(text)


def test_a_login_has_one_id_for_its_customer_and_registry() -> None:
    ids = {id_of(customer, registry) for customer in ("cust_a", "cust_b") for registry in ("docker.io", "ghcr.io")}

    assert len(ids) == 4
    assert all(re.fullmatch("reg_[a-z0-9]{16}", one) for one in ids)
    assert id_of("cust_a", "index.docker.io") == id_of("cust_a", "Docker.io")
