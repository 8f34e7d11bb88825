"""How large a service may be: what is too large for the table is refused before anything is stored."""

import random
import string
from typing import Any

import pytest

from chalicelib.deploy.sizes import MOST_BYTES
from tests.api.conftest import COMPOSE, Api
from tests.emulator import Panel

_EACH = 32_000
TAKES_ALL = """\
services:
  one: {image: demo, environment: %s}
  two: {image: demo, environment: %s}
"""


def variables(size: int, *, noise: bool = False) -> dict[str, str]:
    """Together about this many bytes; noise is what no compression makes small."""
    chosen = random.Random(size)
    made = {}
    for number, begin in enumerate(range(0, size, _EACH)):
        length = min(_EACH, size - begin)
        made[f"V{number}"] = "".join(chosen.choices(string.printable, k=length)) if noise else "x" * length
    return made


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
def test_what_is_too_large_together_is_refused_and_the_limit_told(
    api: Api, panel: Panel, wanted: dict[str, Any], query: str
) -> None:
    reply = api.post(f"/services{query}", {**wanted, "variables": variables(25 * _EACH)})

    assert reply.status == 422
    assert reply.error["details"][0]["rule"] == "too-large"
    assert str(MOST_BYTES) in reply.error["message"]
    assert panel.services.id_of_name(wanted["name"]) is None


@pytest.mark.parametrize("noise", [False, True])
@pytest.mark.parametrize("text", ["none takes", "all take"])
@pytest.mark.parametrize("size", [60_000, 150_000, 250_000, MOST_BYTES - 2000, MOST_BYTES, MOST_BYTES + 30_000])
def test_what_is_taken_can_be_stored(api: Api, wanted: dict[str, Any], size: int, text: str, noise: bool) -> None:
    given = variables(size, noise=noise)
    names = "[" + ", ".join(given) + "]"
    compose = COMPOSE if text == "none takes" else TAKES_ALL % (names, names)
    body = {**wanted, "compose": compose, "variables": given}

    dry, made = api.post("/services?dry_run=true", body), api.post("/services", body)

    assert (dry.status, made.status) in ((200, 201), (422, 422)), made.text[:300]
    assert size > 250_000 or noise or made.status == 201


def test_a_change_is_held_to_the_limit_with_what_there_is(api: Api, panel: Panel, wanted: dict[str, Any]) -> None:
    made = api.post("/services", {**wanted, "variables": variables(300_000)}).body

    more = {f"MORE{number}": "x" * _EACH for number in range(3)}

    reply = api.patch(f"/services/{made['id']}?dry_run=true", {"variables": more})

    assert reply.status == 422
    assert reply.error["details"][0]["rule"] == "too-large"


def test_each_character_counts_as_it_is_stored(api: Api, wanted: dict[str, Any]) -> None:
    emoji = {f"V{number}": "😀" * _EACH for number in range(2)}  # four bytes each

    made = api.post("/services", {**wanted, "variables": emoji})
    more = api.patch(f"/services/{made.body['id']}?dry_run=true", {"variables": {"V3": "😀" * _EACH}})

    assert (made.status, more.status) == (201, 422)
