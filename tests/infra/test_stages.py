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
        ('account = 123456789012\nregion = "eu-central-1"', "account must be the twelve digits .* in quotes"),
        ('account = "123456789012"\nregion = ""', "region must be an AWS region"),
        ('account = "123456789012"\nregion = "Frankfurt"', "region must be an AWS region"),
        ('account = "123456789012"', "region is missing"),
        (GOOD + 'network = "none"', "network must be a table"),
        (GOOD + "edge = true", "edge must be a table"),
        (GOOD + 'settings = "x"', "settings must be"),
        (GOOD + 'deletion_protection = "false"', "deletion_protection must be a valid boolean, not 'false'"),
        (GOOD + 'hosts = "203.0.113.5:22"', "hosts must be a list of texts"),
        (GOOD + 'hosts = ["203.0.113.5"]', "hosts.0 must be .* not '203.0.113.5'"),
        (GOOD + "alarm_email = 7", "alarm_email must be a valid string, not 7"),
        (GOOD + 'name = "other"', "unknown key 'name'"),
        (GOOD + '[edge]\nenabled = "false"', "edge.enabled must be a valid boolean, not 'false'"),
        (GOOD + "[edge]\nenabled = 0", "edge.enabled must be a valid boolean, not 0"),
        (GOOD + "[edge]\nrequests_per_five_minutes = 5", "edge.requests_per_five_minutes must be greater .* 10, not 5"),
        (GOOD + '[network]\nrange = "/30"', "network.range must be a network like"),
        (GOOD + '[network]\nrange = "10.0.0.0/30"', "network.range must be .* of /16 to /24"),
        (GOOD + '[network]\nrange = "10.0.0.7/24"', "network.range must be a network like"),
        (GOOD + '[network]\nsubnet_ids = "subnet-1"', "network.subnet_ids must be a valid"),
        (GOOD + "[settings]\nurl_port = [1]", r"settings.url_port must be a text or a whole number, not \[1\]"),
        (GOOD + "[settings]\nurl_port = true", "settings.url_port must be a text or a whole number, not True"),
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


@pytest.mark.parametrize("name", ["eu_prod", "Prod", "1st", "a" * 22])
def test_a_name_that_aws_would_refuse_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.toml").write_text(GOOD)

    with pytest.raises(DeployError, match=f"name must be 1 to 21 small letters.*{name}"):
        stages.read(name, tmp_path)
