"""From text to tree: what a bomb costs, what YAML Compose reads, and how it takes plain values."""

import json
import time
import tracemalloc

import pytest

from chalicelib.domain.compose.read import MOST_BYTES, read
from chalicelib.domain.errors import ValidationFailed

from .conftest import Planned, Refused, Resolved

# What a plain value becomes where text is expected; recorded from the real Compose and replayed on it below.
SCALARS = {
    "yes": "yes", "on": "on", "off": "off", "no": "no", "y": "y", "true": "true", "True": "true", "TRUE": "true",
    "tRue": "tRue", "false": "false", "0o17": "15", "017": "15", "0x1F": "31", "0X1f": "31", "0b11": "3", "0B1": "1",
    "0O17": "15", "0o8": "0o8", "08": "8", "00": "0", "22:22": "22:22", "1:30:00": "1:30:00", "190:20:30": "190:20:30",
    "1_000": "1000", "1__0": "10", "_1": "_1", "1_0.5": "10.5", "1.0": "1", "1.50": "1.5", "1e3": "1000", ".5": "0.5",
    "5.": "5", "+5": "5", "-0": "-0", "+0x10": "16", "-0o7": "-7", "0x": "0x",
    "12345678901234567890123": "1.2345678901234568e+22",
    "1.0e+10": "1e+10", "0.1": "0.1", "100000.0": "100000", "1000000.0": "1e+06", "1234567.0": "1.234567e+06",
    "123456789012345678": "123456789012345678", "18446744073709551615": "18446744073709551615", "1e-7": "1e-07",
    "0.0001": "0.0001", "0.00001": "1e-05", "123456789.5": "1.234567895e+08", "0.0": "0", "-1.50": "-1.5", "+.5": "0.5",
    "12e03": "12000", "=": "=", "1.2.3": "1.2.3", "1e": "1e", "'5.0'": "5.0", '"yes"': "yes", "!!str 5.0": "5.0",
    "10s": "10s",
    "+": "+", ".": ".", "..": "..", "0.5e1_0": "5e+09",
}  # fmt: skip
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)


@pytest.mark.parametrize("written", SCALARS)
def test_a_plain_value_is_taken_as_compose_takes_it(planned: Planned, written: str) -> None:
    plan = planned(f"services:\n  web:\n    image: app\n    environment:\n      A: {written}\n")

    assert plan.document["services"]["web"]["environment"] == {"A": SCALARS[written]}


def test_the_real_compose_still_takes_plain_values_like_this(compose: Resolved) -> None:
    lines = "".join(f"      A{index}: {written}\n" for index, written in enumerate(SCALARS))

    resolved = compose(f"services:\n  web:\n    image: app\n    environment:\n{lines}")

    values = resolved["services"]["web"]["environment"]
    assert {written: values[f"A{index}"] for index, written in enumerate(SCALARS)} == SCALARS


def test_a_date_stays_as_written() -> None:
    assert read("a: 2024-01-02\nb: 2024-01-02T03:04:05Z") == {"a": "2024-01-02", "b": "2024-01-02T03:04:05Z"}


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "x: &x [*x]",
        "x: &x {a: {b: *x}}",
        "x: &x ['" + "y" * 100_000 + "']\nz: [" + "*x, " * 1000 + "]",
        "x: &x {a: 1}\nz: [" + "*x, " * 30_000 + "]",
        "b0: &b0 {x: 1, y: 2}\n" + "".join(f"b{n}: &b{n} {{x: *b{n - 1}, y: *b{n - 1}}}\n" for n in range(1, 30)),
    ],
)  # fmt: skip
def test_an_anchor_bomb_is_refused_in_no_time_and_little_memory(text: str) -> None:
    tracemalloc.start()
    began = time.process_time()

    with pytest.raises(ValidationFailed) as caught:
        read(text)

    spent, (_, peak) = time.process_time() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.value.details[0]["rule"] == "alias-expansion"
    assert spent < 2
    assert peak < 30 * 2**20


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a: [1, 2", "not-yaml"),
        ("a: 1\n\tb: 2", "not-yaml"),
        ("services:\n\tweb: {image: x}", "not-yaml"),
        ("a: b: c", "not-yaml"),
        ("a: *nowhere", "not-yaml"),
        ("a: .inf", "not-yaml"),
        ("a: 1e999", "not-yaml"),
        ("a: \x01", "not-yaml"),
        ("a: '\ud800'", "not-yaml"),
        ("a: !!int text", "not-yaml"),
        ("a: !!map text", "not-yaml"),
        ("{true: x}", "not-yaml"),
        ("{1.5: x}", "not-yaml"),
        ("{[a]: x}", "not-yaml"),
        ("{~: x}", "not-yaml"),
        ("%YAML 9.9\n---\na: 1", "not-yaml"),
        ("a: &x [1]\nb: {<<: *x}", "not-yaml"),
        ("a: 1\na: 2", "duplicate-key"),
        ("1: a\n'1': b", "duplicate-key"),
        ("x: &x {a: 1}\ny: {<<: *x, <<: *x}", "duplicate-key"),
        ("a: !reset null", "yaml-tag"),
        ("a: !override [1]", "yaml-tag"),
        ("a: !!python/object/apply:os.system [id]", "yaml-tag"),
        ("a: !!binary aGk=", "yaml-tag"),
        ("a: !!set {x}", "yaml-tag"),
        ("a: !<tag:example.com,2024:x> b", "yaml-tag"),
        ("a: 1\n---\nb: 2", "multiple-documents"),
        ("", "no-services"),
        ("# only a comment", "no-services"),
        ("- a", "no-services"),
        ("text", "no-services"),
        ("[" * 50 + "]" * 50, "too-deep"),
        ("[" * 500, "too-deep"),
        ("{a: " * 50_000, "too-deep"),
        ("a: " + "x" * MOST_BYTES, "too-large"),
        ("a: [" + "1," * 30_000 + "]", "too-large"),
        ("a: &a " + "[" * 20 + "]" * 20 + "\nb: " + "[" * 20 + "*a" + "]" * 20, "too-deep"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(text: str, rule: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        read(text)

    assert [detail["rule"] for detail in caught.value.details] == [rule]


def test_a_mistake_is_placed_by_line_and_column() -> None:
    with pytest.raises(ValidationFailed, match="line 4, column 11"):
        read("services:\n  web:\n    image: a\n     ports: 1\n   x\n")


def test_a_file_without_services_is_told_so(refused: Refused) -> None:
    for text in ("a: 1", "services:", "services: {}", "services: []"):
        assert "no-services" in {detail["rule"] for detail in refused(text)}, text


def test_merge_keys_work_as_in_compose(compose: Resolved, planned: Planned) -> None:
    text = """
x-one: &one {A: one, B: one}
x-two: &two {B: two, C: two}
x-deep: &deep {<<: *one, D: deep}
services:
  list: {image: app, environment: {<<: [*one, *two], C: own}}
  deep: {image: app, environment: {<<: *deep, A: own}}
  inline: {image: app, environment: {<<: {A: x}, B: y}}
  base: &base {image: app, environment: {A: base}}
  derived: {<<: *base, environment: {B: own}}
"""

    document = planned(text).document["services"]
    resolved = compose(text)["services"]

    assert {name: service["environment"] for name, service in document.items()} == {
        name: service["environment"] for name, service in resolved.items()
    }
    assert document["list"]["environment"] == {"A": "one", "B": "one", "C": "own"}


def test_aliases_of_ordinary_size_are_read(planned: Planned) -> None:
    services = "".join(f"  s{n}: {{<<: *common, command: run {n}}}\n" for n in range(40))

    plan = planned("x-common: &common {image: app, environment: {A: b, C: d}}\nservices:\n" + services)

    assert len(plan.document["services"]) == 40


def test_the_largest_file_is_read_quickly(planned: Planned) -> None:
    text = json.dumps({"services": {"web": {"image": "app", "environment": {f"A{n}": "x" * 200 for n in range(900)}}}})
    began = time.process_time()

    planned(text)

    assert time.process_time() - began < 3
