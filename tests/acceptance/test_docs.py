"""The commands of docs/operations.md, typed as they stand there, into the emulated account."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from infra.deploy.release import own_architecture
from tests.acceptance.cloud import PROJECT, Account, account
from tests.acceptance.plane import stage_text

# It asks API Gateway at its own host name, over TLS, which no emulator has.
_AWS_ONLY = "make smoke-aws"


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    with account(tmp_path_factory.mktemp("account")) as made:
        made.write_stage(stage_text())
        yield made


def commands(part: str) -> list[str]:
    """Of this part of the section on AWS."""
    page = (PROJECT / "docs" / "operations.md").read_text()
    section = page.partition("\n## In an AWS account\n")[2].partition("\n## ")[0]
    section = section.partition(f"\n### {part}\n")[2].partition("\n### ")[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def test_the_commands_deploy_slipway_and_tell_its_token_and_its_address(empty: Account) -> None:
    told = []
    for line in commands("Install"):
        if line.startswith(_AWS_ONLY):
            continue
        if line.startswith("aws ") and shutil.which("aws") is None:
            pytest.skip("the AWS command line is not installed here")
        told.append(typed(empty, line))

    token, address = told[-2:]
    assert json.loads(token)["token"].startswith("aap_k1_")
    assert re.fullmatch(r"https://\w+\.execute-api\.eu-central-1\.amazonaws\.com/prod", address.strip())


def test_the_commands_that_restore_the_table_hold_the_writers_and_make_one_like_it(empty: Account) -> None:
    if shutil.which("aws") is None:
        pytest.skip("the AWS command line is not installed here")
    lines = commands("Restore the table")
    assert lines

    for line in lines:
        typed(empty, line)

    tables = empty.emulator.client("dynamodb")
    made = tables.describe_table(TableName="slipway-prod-restored")["Table"]
    assert made["TableStatus"] == "ACTIVE"
    assert made["DeletionProtectionEnabled"]
    assert made["KeySchema"] == tables.describe_table(TableName="slipway-prod")["Table"]["KeySchema"]
    functions = empty.emulator.client("lambda")
    names = {each["FunctionName"] for each in functions.list_functions()["Functions"]}
    assert names
    for name in names:
        assert functions.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 0


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))

    for page in ("README.md", "docs/operations.md", "docs/benchmarks.md"):
        named = set(re.findall(r"`make ([a-z-]+)", (PROJECT / page).read_text()))
        assert named <= targets, page


def typed(into: Account, line: str) -> str:
    options = f"--stages {into.stages} --folder {into.folder} --architecture {own_architecture()}"
    # This test's own machine is installed: `-o` has make leave that alone.
    line = line.replace("make ", f'make -o install OPTIONS="{options}" ')
    done = subprocess.run(
        ["sh", "-c", line],
        cwd=PROJECT,
        env={**os.environ, **into.environment()},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout
