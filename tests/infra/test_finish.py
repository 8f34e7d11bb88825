"""What API Gateway answers by itself is in our shape and in words that are true."""

import json
from typing import Any

import pytest

from infra.deploy import finish


class Gateway:
    def __init__(self) -> None:
        self.bodies: dict[str, str] = {}
        self.deployed = False

    def put_gateway_response(self, **words: Any) -> None:
        self.bodies[words["responseType"]] = words["responseTemplates"]["application/json"]

    def create_deployment(self, **words: Any) -> None:
        self.deployed = True


@pytest.fixture
def said() -> dict[str, dict[str, Any]]:
    """By kind of answer, as API Gateway would fill it in."""
    gateway = Gateway()
    finish.api_answers(gateway, "api", "prod")
    assert gateway.deployed
    return {
        kind: json.loads(body.replace("$context.error.messageString", '"Missing Authentication Token"'))["error"]
        for kind, body in gateway.bodies.items()
    }


def test_every_answer_has_our_shape(said: dict[str, dict[str, Any]]) -> None:
    for kind, error in said.items():
        assert list(error) == ["code", "message", "details", "request_id"]
        assert error["code"] == finish.ANSWERS[kind][1]


def test_a_route_that_does_not_exist_is_not_told_of_a_token(said: dict[str, dict[str, Any]]) -> None:
    for kind, error in said.items():
        if finish.ANSWERS[kind][1] == "not_found":
            assert "no such route" in error["message"]
