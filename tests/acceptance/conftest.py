"""One emulated account with the roles that deploy, for the modules that look at what those may and make."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.acceptance.cloud import ACCOUNT, STAGE, account
from tests.acceptance.plane import stage_text
from tests.acceptance.roles import REVIEWED, Roles


@pytest.fixture(scope="package")
def roles(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Roles]:
    with account(tmp_path_factory.mktemp("account")) as made:
        roles = Roles(made)
        made.write_stage(stage_text().replace("enabled = false", "enabled = true"))
        done = made.run("plan")  # the administrator's, which makes the bucket that remembers
        assert done.returncode == 0, done.stderr
        # It refuses what comes without TLS, as it should, and the emulator has none.
        made.emulator.client("s3").delete_bucket_policy(Bucket=f"slipway-{STAGE}-deploys-{ACCOUNT}")
        yield roles


@pytest.fixture(scope="package")
def deployed(roles: Roles) -> subprocess.CompletedProcess[str]:
    """The first deploy into that account, by the deployer, as it ended."""
    return roles.account.run("up", "--yes", **roles.taken("deployer", REVIEWED))
