"""The examples of docs/api.md are answers that the contract tells of, whole: each names the model that it shows."""

import json
import re
from pathlib import Path

import pytest

from tests.contract import oracle

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
EXAMPLES = re.findall(r"^```json(.*)\n((?:.*\n)*?)```$", PAGE, re.MULTILINE)
PART = ", in part"


@pytest.mark.parametrize(("shows", "text"), EXAMPLES, ids=[shows.strip() for shows, _ in EXAMPLES])
def test_an_example_is_as_the_contract_says(shows: str, text: str) -> None:
    model = shows.strip().removesuffix(PART)
    assert model in oracle.closed()["components"]["schemas"], "which model does it show?"
    reference, example = f"#/components/schemas/{model}", json.loads(text)

    if not shows.endswith(PART):
        assert oracle.problems({"$ref": reference}, example) == []
    else:
        assert example
        for name, value in example.items():
            assert oracle.problems({"$ref": f"{reference}/properties/{name}"}, value) == [], name


@pytest.mark.parametrize("model", ["Customer", "Error", "Host", "Job", "Logs", "OrphanPage", "Plan", "Swept"])
def test_what_clients_meet_first_has_an_example(model: str) -> None:
    assert model in [shows.strip() for shows, _ in EXAMPLES]


def test_every_route_that_clients_call_is_on_the_page() -> None:
    told = set(re.findall(r"`(GET|POST|PATCH|DELETE) (/api[^`?]*)", PAGE))

    for path, operations in oracle.closed()["paths"].items():
        for method in operations:
            assert (method.upper(), path) in told
