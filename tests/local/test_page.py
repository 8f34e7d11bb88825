"""The live log page, in a real browser: what it shows, and what it never does with what it is told."""

import http.client
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chalice.config import Config

from infra.local import lambdas
from infra.local.connections import CONNECTIONS_PATH, Connections
from infra.local.facade import Facade
from infra.local.front import Front
from infra.local.gateway import Gateway
from infra.local.lambdas import Functions
from infra.local.page import PAGE, Site
from infra.local.sockets import Limits, Sockets
from tests import browser
from tests.local import paper
from tests.local.conftest import client_of

LOG, OUTPUT = "#logs", "#output"


@pytest.fixture
def panel() -> Iterator[paper.Panel]:
    paper.panel = panel = paper.Panel()
    app, config = paper.made(), Config("local", config_from_disk={"stages": {"local": {}}})
    connections, functions = Connections(), Functions(lambdas.of_app(app, config), "paper-")
    with Facade() as facade, client_of(facade, "apigatewaymanagementapi") as panel.management:
        facade.offer_path(CONNECTIONS_PATH, connections.answer)
        sockets = Sockets(functions, connections, Limits(), "api")
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            Front([listener], Site(Gateway(app, config)), sockets),
        ):
            panel.websocket = f"ws://127.0.0.1:{listener.getsockname()[1]}"
            yield panel


@pytest.fixture
def page(panel: paper.Panel, tmp_path: Path) -> Iterator[browser.Page]:
    """Signed out; whatever it complains of fails the test, but the statuses that are part of the protocol."""
    if not browser.program():
        pytest.skip("no Chromium is installed (make install)")
    with browser.a_page(tmp_path) as page:
        page.open(_url(panel))
        yield page
        page.run("1")
        expected = ("426 (Upgrade Required)", "401 (Unauthorized)")
        assert [one for one in page.complaints if not any(status in one for status in expected)] == []


def _url(panel: paper.Panel) -> str:
    return panel.websocket.replace("ws://", "http://") + "/"


def _sign_in(page: browser.Page, token: str = paper.TOKEN) -> None:
    page.type("#token", token)
    page.press_enter()


def _pick(page: browser.Page, service_id: str = paper.SERVICE) -> None:
    page.click(f'[data-service="{service_id}"]')
    page.until("document.querySelector('#line').textContent === 'Live'")


def _messages(page: browser.Page, box: str = LOG) -> Any:
    return page.run(f"[...document.querySelectorAll('{box} .message')].map(one => one.textContent)")


def _shows(page: browser.Page, message: str, box: str = LOG) -> None:
    page.until(
        f"document.querySelector('{box}').lastElementChild?.querySelector('.message').textContent === {message!r}"
    )


def test_a_token_shows_the_services_and_a_wrong_one_says_so(page: browser.Page) -> None:
    _sign_in(page, "wrong")
    page.until("document.querySelector('#refusal').textContent === 'That token is not accepted.'")
    assert page.run("sessionStorage.length") == 0

    _sign_in(page)

    page.until("document.querySelectorAll('#services button').length === 2")
    assert page.run("[localStorage.length, document.cookie, sessionStorage.length]") == [0, "", 1]
    assert page.run("document.querySelector('#token').value") == ""


def test_lines_appear_as_they_are_written_by_stream_and_container(page: browser.Page, panel: paper.Panel) -> None:
    panel.write(paper.SERVICE, "before")
    _sign_in(page)
    _pick(page)
    _shows(page, "before")

    panel.write(paper.SERVICE, "to stderr", stream="stderr", container="db-2")
    panel.write(paper.SERVICE, "no new lines", stream="system", container="")

    _shows(page, "no new lines")
    rows = "[...document.querySelectorAll('#logs .row')]"
    assert page.run(f"{rows}.map(row => row.className)") == ["row stdout", "row stderr", "row system"]
    assert page.run(f"{rows}.map(row => row.querySelector('.container')?.textContent ?? null)") == ["web", "db-2", None]
    assert page.run("document.querySelector('#name').textContent") == "paper"
    assert page.run("document.querySelector('#status').textContent") == "running"
    assert page.run("document.documentElement.scrollHeight <= window.innerHeight")
    colours = page.run(f"{rows}.map(row => getComputedStyle(row.querySelector('.message')).color)")
    assert len(set(colours)) == 3


def test_what_looks_like_markup_is_text(page: browser.Page, panel: paper.Panel) -> None:
    _sign_in(page)
    _pick(page, paper.OTHER)
    hostile = (
        "<script>document.title='broken'</script><img src=x onerror=\"document.title='broken'\">\x1b[31mred\x1b[0m"
    )
    panel.write(paper.OTHER, hostile, container="<b>web</b>")

    page.until("document.querySelectorAll('#logs .row').length === 1")
    assert _messages(page) == [hostile.replace("\x1b[31m", "").replace("\x1b[0m", "")]
    assert page.run("document.querySelectorAll('#logs img, #logs script, #logs b, #services img').length") == 0
    assert page.run("document.title") == "Slipway: live logs"


def test_a_connection_that_is_cut_comes_back_where_it_was(page: browser.Page, panel: paper.Panel) -> None:
    panel.write(paper.SERVICE, *(f"line {number}" for number in range(250)))
    _sign_in(page)
    _pick(page)
    written = 250
    for _ in range(3):
        panel.write(paper.SERVICE, *(f"line {number}" for number in range(written, written + 150)))
        panel.cut()
        panel.write(paper.SERVICE, *(f"line {number}" for number in range(written + 150, written + 300)))
        written += 300
        _shows(page, f"line {written - 1}")

    assert _messages(page) == [f"line {number}" for number in range(50, written)]
    starts = [start for start in panel.starts if start["path"].startswith("services/")]
    assert "cursor" not in starts[0]
    assert all("cursor" in start for start in starts[1:])


def test_it_keeps_5000_lines_and_leaves_a_reader_who_scrolled_up_where_he_is(
    page: browser.Page, panel: paper.Panel
) -> None:
    _sign_in(page)
    _pick(page)
    for at in range(0, 5600, 400):
        panel.write(paper.SERVICE, *(f"line {number}" for number in range(at, at + 400)))
    _shows(page, "line 5599")
    assert page.run("document.querySelectorAll('#logs .row').length") == 5000
    assert _at_end(page)

    page.run("document.querySelector('#logs').scrollTop -= 3000")
    page.until("!document.querySelector('#newest').hidden")
    panel.write(paper.SERVICE, "one more")
    _shows(page, "one more")
    assert not _at_end(page)

    page.click("#newest")
    page.until("document.querySelector('#newest').hidden")
    panel.write(paper.SERVICE, "the last")
    _shows(page, "the last")
    assert _at_end(page)


def test_a_window_that_changes_its_size_still_shows_the_newest_lines(page: browser.Page, panel: paper.Panel) -> None:
    panel.write(paper.SERVICE, *(f"line {number} {'word ' * 40}" for number in range(199)), "end")
    _sign_in(page)
    _pick(page)
    _shows(page, "end")

    for width, height in ((420, 800), (1200, 500), (700, 900)):
        page.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        page.until("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))")
        assert _at_end(page)
        assert page.run("document.querySelector('#newest').hidden")


def _at_end(page: browser.Page) -> bool:
    box = "document.querySelector('#logs')"
    return bool(page.run(f"{box}.scrollHeight - {box}.scrollTop - {box}.clientHeight < 8"))


def test_the_newest_job_shows_its_steps_and_what_it_prints_until_it_is_over(
    page: browser.Page, panel: paper.Panel
) -> None:
    panel.write(paper.JOB, "Pulling web", container="pull")
    _sign_in(page)
    _pick(page)
    _shows(page, "Pulling web", OUTPUT)
    assert page.run("document.querySelector('#job').open")
    steps = "[...document.querySelectorAll('#steps li')].map(one => one.textContent)"
    assert page.run(steps) == ["succeeded Preflight 0.1 s", "at work Pull"]

    panel.end_job()

    _shows(page, "deploy succeeded: Deployed release 1", OUTPUT)
    page.until("document.querySelector('#job-status').textContent === 'succeeded'")
    assert page.run(steps) == ["succeeded Preflight 0.1 s", "succeeded Pull 1.5 s"]
    assert page.run("document.querySelector('#job-line').textContent") == "That is all"


def test_a_search_narrows_the_list(page: browser.Page, panel: paper.Panel) -> None:
    _sign_in(page)
    page.until("document.querySelectorAll('#services button').length === 2")

    page.type("#search", "pap")

    page.until("document.querySelectorAll('#services button').length === 1")
    assert page.run("document.querySelector('#services .name').textContent") == "paper"


def test_a_reload_shows_the_same_service_again(page: browser.Page, panel: paper.Panel) -> None:
    _sign_in(page)
    _pick(page)
    panel.write(paper.SERVICE, "still here")

    page.run("window.before = true")
    page.call("Page.reload")
    page.until("window.before === undefined && document.readyState === 'complete'")

    _shows(page, "still here")


def test_a_token_that_is_revoked_is_forgotten(page: browser.Page, panel: paper.Panel) -> None:
    _sign_in(page)
    _pick(page)

    panel.refusing = True
    panel.cut()

    page.until("document.querySelector('#refusal').textContent === 'The token is not accepted any more.'")
    assert page.run("sessionStorage.length") == 0
    assert page.run("document.querySelector('#panel').hidden")


def test_every_control_has_a_name_and_the_page_a_language(page: browser.Page, panel: paper.Panel) -> None:
    _sign_in(page)
    _pick(page)
    tree = page.call("Accessibility.getFullAXTree")["nodes"]
    controls = [
        node
        for node in tree
        if not node["ignored"]
        and node["role"]["value"] in {"button", "textbox", "searchbox", "link", "log", "navigation"}
    ]
    assert controls
    assert [node["role"]["value"] for node in controls if not node["name"]["value"]] == []
    assert page.run("document.documentElement.lang") == "en"


def test_its_files_have_their_types_and_headers_that_hold_them_down(panel: paper.Panel) -> None:
    host, _, port = panel.websocket.removeprefix("ws://").partition(":")
    types = {"/": "text/html", "/app.js": "text/javascript", "/style.css": "text/css", "/icon.svg": "image/svg+xml"}
    for path, kind in types.items():
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        assert (answer.status, answer.headers["Content-Type"].split(";")[0]) == (200, kind)
        assert body == (PAGE / (path[1:] or "index.html")).read_bytes()
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


def test_the_page_needs_nothing_from_elsewhere_and_nothing_inline() -> None:
    text = (PAGE / "index.html").read_text()
    for word in ("style=", "onclick=", "<style", "http://", "https://", "javascript:"):
        assert word not in text
    assert text.count("<script") == text.count('<script src="app.js"')
    script = (PAGE / "app.js").read_text()
    for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage", "cookie"):
        assert word not in script
