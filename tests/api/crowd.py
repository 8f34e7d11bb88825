"""Many callers at once: requests through the runner's gateway, which answers in any number of threads."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from chalice.cli.factory import CLIFactory

import app
from infra.local.gateway import Gateway, Request, Response

_PROJECT = Path(__file__).resolve().parents[2]
Result = TypeVar("Result")


@contextmanager
def gateway() -> Iterator[Gateway]:
    plain = app.app.__class__
    try:
        yield Gateway(app.app, CLIFactory(str(_PROJECT)).create_config_obj("local"))
    finally:
        app.app.__class__ = plain


def asking(method: str, path: str, token: str, body: Any = None, **headers: str) -> Request:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(
        method,
        f"/api{path}",
        "",
        {"content-type": "application/json", "authorization": f"Bearer {token}", **sent},
        json.dumps(body).encode() if body is not None else b"",
        "203.0.113.7",
    )


def all_at_once(calls: list[Callable[[], Result]]) -> list[Result]:
    """What each returned; they begin together."""
    barrier = threading.Barrier(len(calls))

    def begin(call: Callable[[], Result]) -> Result:
        barrier.wait(30)
        return call()

    with ThreadPoolExecutor(len(calls)) as crowd:
        return list(crowd.map(begin, calls))


def headers_of(response: Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers}
