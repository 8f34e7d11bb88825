"""A customer's Dockerfile: what it begins from, and what our builder cannot do, or must not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.dockerfile import judged
from chalicelib.domain.errors import BuildFailed

LABEL = "slipway.service=svc_abcdefgh12345678"


def images(text: str, **arguments: str) -> tuple[str, ...]:
    return judged(text, arguments, LABEL).images


def test_every_stage_is_labelled_and_the_rest_is_as_written() -> None:
    text = (
        "# syntax=docker/dockerfile:1\nFROM node:20 AS build\nRUN echo a \\\n  # words\n\n  FROM b\n"
        "FROM \\\n  busybox:1\nCOPY --from=build /a /b\n"
    )

    assert judged(text, {}, LABEL).text.splitlines() == [
        "# syntax=docker/dockerfile:1",
        "FROM node:20 AS build",
        f"LABEL {LABEL}",
        "RUN echo a \\",
        "  # words",
        "",
        "  FROM b",
        "FROM \\",
        "  busybox:1",
        f"LABEL {LABEL}",
        "COPY --from=build /a /b",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("FROM scratch\n", ()),
        ("FROM a:1 AS one\nFROM one\nFROM b:2\n", ("a:1", "b:2")),
        ("ARG V=3.11\nFROM python:${V}-slim\n", ("python:3.11-slim",)),
        ("ARG V\nFROM python:${V:-3.12}\n", ("python:3.12",)),
        ("ARG BASE=a:1\nARG WHOLE=$BASE\nFROM $WHOLE\n", ("a:1",)),
        ('ARG V="3"\nFROM "x:$V"\n', ("x:3",)),
        ("FROM a:1\nCOPY --from=nginx:1 /a /b\nCOPY --from=0 /a /b\n", ("a:1", "nginx:1")),
        ("FROM --platform=linux/amd64 a:1\n", ("a:1",)),
        ("from a:1\n", ("a:1",)),
        ("FROM\ta:1\n", ("a:1",)),
        ("# escape=`\nFROM a:1\nRUN dir c:\\\nFROM b:1\n", ("a:1", "b:1")),
    ],
)
def test_what_it_begins_from_is_found(text: str, expected: tuple[str, ...]) -> None:
    assert images(text) == expected


def test_a_builds_own_arguments_come_before_the_defaults() -> None:
    assert images("ARG V=1\nFROM a:$V\n", V="2") == ("a:2",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("RUN x\n", "no FROM"),
        ("", "no FROM"),
        ("FROM $UNKNOWN\n", "not plain"),
        ("FROM a:1$(id)\n", "not plain"),
        ("FROM slipway/svc_zzzzzzzz12345678:3\n", "their own services' alone"),
        ("FROM docker.io/slipway/svc_zzzzzzzz12345678:3\n", "their own services' alone"),
        ("FROM a\nCOPY --from=slipway/svc_zzzzzzzz12345678:3 / /\n", "their own services' alone"),
        ("FROM a\nRUN --mount=type=secret,id=x cat /x\n", "needs BuildKit"),
        ("FROM a\nRUN --security=insecure id\n", "needs BuildKit"),
        ("FROM a\nRUN --network=host id\n", "needs BuildKit"),
        ("FROM a\nCOPY --link a b\n", "needs BuildKit"),
        ("FROM a\nONBUILD COPY --from=b / /\n", "ONBUILD"),
        ("FROM a\n" * 31, "more than 30 stages"),
        ("FROM a\n" + "#" * 70_000, "longer than"),
    ],
)
def test_what_cannot_be_built_or_may_not_is_told(text: str, said: str) -> None:
    with pytest.raises(BuildFailed, match=said):
        judged(text, {}, LABEL)


@given(
    st.lists(
        st.sampled_from(["FROM a:1", "FROM b AS c", "RUN x \\", "# y", "", "  z", "COPY a b", "FROM \\", "d:2"]),
        max_size=12,
    )
)
def test_there_are_as_many_labels_as_stages(lines: list[str]) -> None:
    try:
        text = judged("\n".join(lines), {}, LABEL).text
    except BuildFailed:
        return
    assert text.count(f"LABEL {LABEL}\n") >= 1
    assert [line for line in text.splitlines() if line != f"LABEL {LABEL}"] == "\n".join(lines).splitlines()
