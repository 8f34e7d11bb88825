"""What Compose makes of a document is asked of it once for all that are alike, and is the same as if asked anew."""

import json
import os
import resource
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from chalicelib.domain.compose import Defaults, judge, plan
from chalicelib.hostkit import compose
from chalicelib.hostkit.resolved import KEPT_S, MOST, SOMEBODY, resolved

ONE, OTHER = "svc_abcdefgh12345678", "svc_zyxwvuts87654321"
ORDINARY = sorted((Path(__file__).parents[1] / "domain/compose/ordinary").glob("*.yaml"))
VARIABLES = {
    "DB_PASSWORD": "pa$$word${x}", "TOKEN": "t", "POSTGRES_USER": "n8n", "REDIS_PASSWORD": "r", "DB_PASS": "d",
    "DB_USERNAME": "",
}  # fmt: skip
COMPOSE = ["/usr/bin/docker-compose", 1]
TEXT = """
services:
  web:
    image: app
    command: run --name "a b" a ${PASSWORD}
    environment: {PASSWORD: "${PASSWORD}"}
    volumes: [data:/data]
volumes: {data: }
"""
PASSWORD = {"PASSWORD": "canary-4w8x"}


class Compose:
    """Makes of a document what Compose makes of ours, and counts how often it was asked."""

    def __init__(self, kept: Path) -> None:
        self.kept, self.asked = kept, 0
        self.tamper: Callable[[dict[str, Any]], Any] = lambda _: None

    def answer(self, service: str, document: dict[str, Any]) -> Any:
        self.asked += 1
        made = json.loads(json.dumps(document))
        for network in made["networks"].values():
            network["ipam"] = {}
        for key, volume in made.get("volumes", {}).items():
            volume["name"] = f"{service}_{key}"
        for one in made["services"].values():
            one.setdefault("entrypoint", None)
            if isinstance(one.get("command"), str):
                one["command"] = ["run", "--name", "a b", "a", one["command"].rsplit(" ", 1)[1]]
        self.tamper(made)
        return made

    def of(self, service: str, text: str = TEXT, release: int = 1, who: Any = COMPOSE) -> tuple[dict[str, Any], Any]:
        """The document, and what it resolves to."""
        document = document_of(service, text, release)
        ask = lambda: self.answer(service, document)  # noqa: E731
        return document, resolved(service, json.dumps(document), who, ask, str(self.kept))


def document_of(service: str, text: str = TEXT, release: int = 1, variables: dict[str, str] = PASSWORD) -> Any:
    limits = Defaults(500, 256, 128)
    return plan(text, variables, service_id=service, release=release, publish_ports=True, defaults=limits).document


@pytest.fixture
def asked(tmp_path: Path) -> Compose:
    (tmp_path / "kept").mkdir()
    return Compose(tmp_path / "kept")


def test_another_service_from_the_same_file_is_not_asked_for_again(asked: Compose) -> None:
    asked.of(ONE)
    document, answer = asked.of(OTHER, release=7)

    assert asked.asked == 1
    assert answer == asked.answer(OTHER, document)
    assert answer["services"]["web"]["labels"] == {"slipway.service": OTHER, "slipway.release": "7"}
    assert judge(answer, document) == []


def test_a_redeploy_is_not_asked_for_again(asked: Compose) -> None:
    answers = [asked.of(ONE, release=release) for release in (1, 2, 12)]

    assert asked.asked == 1
    assert all(judge(answer, document) == [] for document, answer in answers)


@pytest.mark.parametrize(
    "other",
    [
        TEXT.replace("/data", "/date"),
        TEXT.replace("app", "app:2"),
        TEXT.replace("a b", "a c"),
        TEXT.replace("web", "app"),
        TEXT + "configs: {site: {content: hello}}\n",
    ],
)
def test_a_changed_file_is_asked_for_anew(asked: Compose, other: str) -> None:
    asked.of(ONE)
    asked.of(ONE, other.replace("volumes: [data", "configs: [site]\n    volumes: [data") if "site" in other else other)

    assert asked.asked == 2


def test_another_value_is_asked_for_anew(asked: Compose) -> None:
    for value in ("a", "b", "b"):
        asked.of(ONE, TEXT.replace("${PASSWORD}", value))

    assert asked.asked == 2


def test_another_compose_is_asked_anew_and_one_that_cannot_be_told_always(asked: Compose) -> None:
    for who in (COMPOSE, ["/usr/bin/docker-compose", 2], COMPOSE, None, None):
        asked.of(ONE, who=who)

    assert asked.asked == 4


def test_a_document_that_holds_the_ids_substitute_is_always_asked_for(asked: Compose) -> None:
    for service in (ONE, OTHER):
        asked.of(service, TEXT.replace("a b", SOMEBODY))

    assert asked.asked == 2


@pytest.mark.parametrize("spoil", [lambda text: text[:-1], lambda text: text.replace("ipam", "ipan"), lambda _: ""])
def test_what_was_spoiled_on_the_disk_is_asked_for_anew_and_mended(asked: Compose, spoil: Callable[[str], str]) -> None:
    asked.of(ONE)
    (kept,) = asked.kept.iterdir()
    kept.write_text(spoil(kept.read_text()))

    document, answer = asked.of(OTHER)

    assert asked.asked == 2
    assert judge(answer, document) == []
    asked.of(ONE)
    assert asked.asked == 2


def test_what_was_kept_under_another_name_is_not_believed(asked: Compose) -> None:
    asked.of(ONE)
    (first,) = asked.kept.iterdir()
    changed = TEXT.replace("image: app", "image: other")
    asked.of(ONE, changed)
    (second,) = set(asked.kept.iterdir()) - {first}
    second.write_bytes(first.read_bytes())

    asked.of(ONE, changed)

    assert asked.asked == 3


def test_what_is_old_is_asked_for_anew(asked: Compose) -> None:
    asked.of(ONE)
    (kept,) = asked.kept.iterdir()
    past = kept.stat().st_mtime - KEPT_S
    os.utime(kept, (past, past))

    asked.of(OTHER)

    assert asked.asked == 2


def test_only_so_many_are_kept_and_those_that_came_last(asked: Compose) -> None:
    for number in range(MOST + 2):
        (asked.kept / f"{number}").write_text("")
        age = 60 + (MOST if number == 0 else -number / 1000)
        written = (asked.kept / f"{number}").stat().st_mtime - age
        os.utime(asked.kept / f"{number}", (written, written))

    asked.of(ONE)

    left = {path.name for path in asked.kept.iterdir()}
    assert len(left) == MOST
    assert not left & {"0", "1", "2"}
    asked.of(OTHER)
    assert asked.asked == 1


def test_nothing_secret_is_kept(asked: Compose) -> None:
    document, answer = document_of(ONE), None
    answer = resolved(ONE, json.dumps(document), COMPOSE, lambda: asked.answer(ONE, document), str(asked.kept))

    (kept,) = asked.kept.iterdir()
    assert answer["services"]["web"]["command"][-1] == PASSWORD["PASSWORD"]
    assert PASSWORD["PASSWORD"] in json.dumps(document)
    assert PASSWORD["PASSWORD"] not in kept.read_text()


@pytest.mark.parametrize(
    ("tamper", "times"),
    [
        (lambda made: made["services"]["web"].update(privileged=True), 1),
        (lambda made: made["services"]["web"].update(pid="host"), 2),
        (lambda made: made["services"]["web"].update(image="other"), 2),
        (lambda made: made["services"]["web"]["volumes"].append({"type": "bind", "source": "/", "target": "/h"}), 2),
        (lambda made: made["volumes"]["data"].update(name="other"), 2),
        (lambda made: made["services"]["web"].pop("labels"), 2),
        (lambda made: made["services"].update(evil={"image": "x"}), 2),
    ],
)
def test_what_was_refused_is_refused_from_what_is_kept_too(
    asked: Compose, tamper: Callable[[dict[str, Any]], Any], times: int
) -> None:
    asked.tamper = tamper

    answers = [asked.of(service) for service in (ONE, OTHER)]

    assert asked.asked == times
    first, second = ([(found.path, found.rule) for found in judge(answer, document)] for document, answer in answers)
    assert first
    assert first == second


def test_a_word_found_in_the_id_alone_is_not_taken_from_there(asked: Compose) -> None:
    text = "services: {web: {image: app, command: 'run ${COMPOSE_PROJECT_NAME} h'}}"
    asked.tamper = lambda made: made["services"]["web"].update(command=["run", made["name"], "h"])
    asked.of(ONE, text)
    _, answer = asked.of(OTHER, text)

    assert answer["services"]["web"]["command"] == ["run", OTHER, "h"]
    assert asked.asked == 1


def test_a_failure_is_not_kept(asked: Compose) -> None:
    def fails() -> Any:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        resolved(ONE, json.dumps(document_of(ONE)), COMPOSE, fails, str(asked.kept))
    asked.of(ONE)

    assert asked.asked == 1


# the real one


@pytest.fixture
def as_the_kit_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Any]]:
    """`compose config` of a service's document, as the kit runs it."""
    if compose.binary() is None:
        pytest.skip("NOT TESTED: no docker-compose plugin on this machine, so nothing is compared with the real one")
    before = resource.getrlimit(resource.RLIMIT_AS)
    monkeypatch.chdir(tmp_path)

    def config(service: str, text: str) -> Any:
        file = tmp_path / service / "compose.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
        code, output, errors = compose.run([*compose.project(service, str(file)), "config", "--format", "json"], 20)
        assert code == 0, errors
        return json.loads(output)

    yield config
    resource.setrlimit(resource.RLIMIT_AS, before)


def test_what_is_kept_says_what_the_real_compose_says(
    as_the_kit_does: Callable[[str, str], Any], tmp_path: Path
) -> None:
    asked: list[str] = []

    def ask(service: str, text: str) -> Any:
        asked.append(service)
        return as_the_kit_does(service, text)

    for number, file in enumerate(ORDINARY):
        kept = str(tmp_path / f"kept-{number}")
        for service, release in ((ONE, 3), (OTHER, 44)):
            text = json.dumps(document_of(service, file.read_text(), release, VARIABLES))
            answer = resolved(service, text, compose.identity(), partial(ask, service, text), kept)

        assert answer == as_the_kit_does(OTHER, text), file.stem
        assert judge(answer, json.loads(text)) == [], file.stem

    assert asked.count(ONE) == len(ORDINARY) >= 30
    assert asked.count(OTHER) == 0
