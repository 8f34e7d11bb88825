"""What every test may ask for, and what asking for a lab host says about a test."""

import pytest

pytest_plugins = ["tests.emulator", "tests.lab.fixtures"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--plane",
        choices=["local", "packaged"],
        default="local",
        help="what journeys run on: the one-machine runner, or the release in an emulated AWS account",
    )


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for lab hosts is a lab test, marked or not."""
    for item in items:
        if isinstance(item, pytest.Function) and "lab" in item.fixturenames:
            item.add_marker("lab")
