"""The live log page, as somebody at a browser sees a deploy and its service's lines."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import browser
from tests.journeys.conftest import DockerHost
from tests.journeys.plane import Client, Plane

TALKS = """\
services:
  web:
    image: busybox:1
    command:
      - sh
      - -c
      - |
        mkdir /www && echo up >/www/index.html
        echo hello from the page
        echo oh no >&2
        exec httpd -f -p 8000 -h /www
    expose: ["8000"]
"""


@pytest.fixture
def page(tmp_path: Path) -> Iterator[browser.Page]:
    if not browser.program():
        pytest.skip("no Chromium is installed (make install)")
    with browser.a_page(tmp_path) as page:
        yield page


def test_the_page_shows_a_deploys_steps_and_then_what_the_service_says(
    page: browser.Page, admin: Client, host: DockerHost, plane: Plane
) -> None:
    made = admin.create("talks", TALKS, host_id=host.id)
    page.open(f"{plane.api}/")
    page.type("#token", plane.token)
    page.press_enter()
    page.click(f'[data-service="{made["id"]}"]')

    page.until("document.querySelector('#job-status').textContent === 'succeeded'", 60)
    assert "Up" in page.run("document.querySelector('#steps').textContent")
    rows = "[...document.querySelectorAll('#logs .row')]"
    said = f"{rows}.map(row => `${{row.className}}: ${{row.querySelector('.message').textContent}}`)"
    page.until(f"{said}.includes('row stdout: hello from the page') && {said}.includes('row stderr: oh no')", 60)
    page.until("document.querySelector('#status').textContent === 'running'")
    assert page.run(f"document.querySelector('[data-service=\"{made['id']}\"] .status').textContent") == "running"
    assert page.run("document.querySelector('#logs .container').textContent") == "web"
    page.until("document.querySelector('#job-line').textContent === 'That is all'", 30)
    page.until("document.querySelector('#output').lastElementChild.textContent.includes('deploy succeeded')")
