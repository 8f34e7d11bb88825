"""A stage's file says clearly what is wrong with it."""

from pathlib import Path

import pytest

from infra.deploy import stages
from infra.deploy.errors import DeployError

GOOD = 'account = "123456789012"\nregion = "eu-central-1"\n'


def read(folder: Path, text: str) -> stages.Stage:
    (folder / "prod.toml").write_text(text)
    return stages.read("prod", folder)


def test_the_stage_of_the_repository_can_be_read() -> None:
    stage = stages.read("prod")

    assert stage.prefix == "slipway-prod"
    assert stage.settings["SLIPWAY_URL_SCHEME"] == "https"


def test_what_a_stage_does_not_say_has_a_default(tmp_path: Path) -> None:
    stage = read(tmp_path, GOOD)

    assert (stage.network.mode, stage.edge.domain, stage.deletion_protection) == ("none", "", True)
    assert stage.deposit == "slipway-prod-deploys-123456789012"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("account = ", "is not TOML"),
        ('region = "eu-central-1"', "account"),
        ('account = "12"\nregion = "eu-central-1"', "twelve digits"),
        (GOOD + 'acount = "1"', "unknown key 'acount'"),
        (GOOD + '[network]\nmode = "vpn"', "network.mode must be none, own or given"),
        (GOOD + '[network]\nmode = "given"', "needs subnet_ids and security_group_ids"),
        (GOOD + '[edge]\ndomain = "panel.example.com"', "needs edge.hosted_zone_id"),
        (GOOD + '[edge]\nname = "x"', "edge: unknown key 'name'"),
        (GOOD + '[settings]\nbase_domian = "x"', "SLIPWAY_BASE_DOMIAN is no setting"),
        (GOOD + '[settings]\nurl_port = "many"', "SLIPWAY_URL_PORT must be a whole number"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DeployError, match=said):
        read(tmp_path, text)
