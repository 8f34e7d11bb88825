""".github/workflows/deploy.yml, which no test can run: its grammar, what it names, and by which roles it comes in."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.deploy import stages
from infra.deploy.stages import APP, PROJECT
from tests.architecture.test_deployer import RESOURCES

FILE = PROJECT / ".github" / "workflows" / "deploy.yml"
PIPELINE: dict[str, Any] = yaml.load(FILE.read_text(), yaml.BaseLoader)  # `on` stays a word
JOBS: dict[str, Any] = PIPELINE["jobs"]


def checked(file: Path) -> subprocess.CompletedProcess[str]:
    """By GitHub's schema of workflows, which check-jsonschema brings with it."""
    program = "from check_jsonschema import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, "--builtin-schema", "vendor.github-workflows", str(file)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_github_would_take_it() -> None:
    done = checked(FILE)

    assert done.returncode == 0, done.stdout


def test_what_github_would_not_take_is_seen(tmp_path: Path) -> None:
    wrong = tmp_path / "deploy.yml"
    wrong.write_text(FILE.read_text().replace("needs: plan", "after: plan"))

    done = checked(wrong)

    assert done.returncode == 1
    assert "after" in done.stdout


def steps(job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = JOBS[job]["steps"]
    return found


def typed(job: str) -> str:
    return "\n".join(step.get("run", "") for step in steps(job))


def test_every_make_target_that_it_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE))

    named = {
        word
        for job in JOBS
        for line in re.findall(r"\bmake ([^\n|]*)", typed(job))
        for word in line.split()
        if re.fullmatch("[a-z][a-z-]*", word)
    }

    assert {"plan", "deploy", "smoke-aws", "package", "acceptance"} <= named <= targets


def test_what_needs_root_says_so_and_nothing_with_credentials_does() -> None:
    for job in JOBS:
        rooted = {"sudo" in line for line in typed(job).splitlines() if "make " in line}
        assert rooted == {job in {"test", "package"}}, job


@pytest.mark.parametrize(("job", "role"), [("plan", "Planner"), ("deploy", "Deployer")])
def test_a_job_comes_in_by_the_role_that_is_for_it(job: str, role: str) -> None:
    (login,) = [step["with"] for step in steps(job) if "configure-aws-credentials" in step.get("uses", "")]

    made = RESOURCES[role]["Properties"]
    name = made["RoleName"]["Fn::Sub"].replace("${App}", APP).replace("${Stage}", "${{ env.STAGE }}")
    account = "${{ steps.stage.outputs.account }}"
    assert login["role-to-assume"] == f"arn:aws:iam::{account}:role{made['Path']}{name}"
    assert login["aws-region"] == "${{ steps.stage.outputs.region }}"
    assert int(login.get("role-duration-seconds", 3600)) <= made["MaxSessionDuration"]
    assert JOBS[job]["permissions"] == {"contents": "read", "id-token": "write"}


def test_the_plans_role_is_taken_on_the_branch_and_the_deploys_in_the_environment() -> None:
    assert PIPELINE["on"]["push"]["branches"] == ["main"]
    assert "environment" not in JOBS["plan"]
    assert JOBS["deploy"]["environment"] == PIPELINE["env"]["STAGE"]
    assert JOBS["deploy"]["needs"] == "plan"
    assert PIPELINE["permissions"] == {"contents": "read"}
    assert not any("id-token" in JOBS[job].get("permissions", {}) for job in ("test", "package"))


@pytest.mark.parametrize("job", ["plan", "deploy"])
def test_account_and_region_are_those_of_the_stages_file(job: str, tmp_path: Path) -> None:
    (script,) = [step["run"] for step in steps(job) if step.get("id") == "stage"]
    told = tmp_path / "told"

    environment = {**os.environ, "STAGE": "prod", "GITHUB_OUTPUT": str(told)}
    subprocess.run([sys.executable, "-c", script], cwd=PROJECT, env=environment, check=True, timeout=60)

    stage = stages.read("prod")
    assert told.read_text() == f"account={stage.account}\nregion={stage.region}\n"


def test_the_plan_is_in_the_runs_summary_and_a_plan_that_fails_ends_the_job(tmp_path: Path) -> None:
    """GitHub runs `shell: bash` as `bash -eo pipefail`; `make` is stood in for."""
    (step,) = [step for step in steps("plan") if "make --silent plan" in step.get("run", "")]
    summary, make = tmp_path / "summary", tmp_path / "make"
    ends = {}
    for code in (0, 3):
        make.write_text(f"#!/bin/sh\necho \"$@\"\necho '# no heading'\nexit {code}\n")
        make.chmod(0o755)
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "STAGE": "prod", "GITHUB_STEP_SUMMARY": str(summary)}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            env=environment,
            capture_output=True,
            check=False,
            timeout=60,
        )
        ends[code] = done.returncode

    assert step["shell"] == "bash"
    assert ends == {0: 0, 3: 3}
    assert summary.read_text() == "    --silent plan STAGE=prod\n    # no heading\n" * 2


def test_no_action_is_used_without_a_version() -> None:
    used = [step["uses"] for job in JOBS for step in steps(job) if "uses" in step]

    assert used
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+@v\d+", each) for each in used), json.dumps(used)
