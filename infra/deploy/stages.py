"""What one installation decides: `infra/stages/<stage>.toml`, read once and checked before anything is touched."""

import ipaddress
import json
import tomllib
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from infra.deploy.errors import DeployError

PROJECT = Path(__file__).resolve().parents[2]
STAGES = PROJECT / "infra" / "stages"
APP = "slipway"
_LARGEST, _SMALLEST = 16, 24  # prefix lengths
_SAID = {
    "account": "the twelve digits of the AWS account that this stage belongs to, in quotes",
    "region": "an AWS region, as eu-central-1",
    "name": "1 to 21 small letters, digits and -, a letter first",
    "range": f"a network like 10.200.0.0/24, of /{_LARGEST} to /{_SMALLEST}",
    "mode": "none, own or given",
    "hosts": 'a list of texts, as ["203.0.113.5:22"]',
}


_CHECKED = ConfigDict(strict=True, extra="forbid")
# What AWS makes of a stage's name: names of functions, roles, stacks and of buckets, which know no capitals and no _.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,20}$")]
Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(-[a-z]+)+-[0-9]$")]
Account = Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]
Address = Annotated[str, StringConstraints(pattern=r"^[^\s:]+:[0-9]{1,5}$|^\[[0-9a-fA-F:.]+\]:[0-9]{1,5}$")]
Setting = Annotated[str, BeforeValidator(lambda value: str(value) if type(value) is int else value)]
Rate = Annotated[int, Field(ge=10, le=2_000_000_000)]  # the firewall's own limits


def _network_range(text: str) -> str:
    """infra/network.yaml cuts three subnets of 64 addresses from it; a VPC has at most a /16."""
    network = ipaddress.IPv4Network(text)
    if not _LARGEST <= network.prefixlen <= _SMALLEST:
        raise ValueError(f"must be of /{_LARGEST} to /{_SMALLEST}")
    return text


@dataclass(frozen=True, config=_CHECKED)
class Network:
    """Where the two functions that speak SSH stand: `none`, `own` (infra/network.yaml) or `given` subnets."""

    mode: Literal["none", "own", "given"] = "none"
    range: Annotated[str, AfterValidator(_network_range)] = "10.200.0.0/24"
    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()


@dataclass(frozen=True, config=_CHECKED)
class Edge:
    """One host name for REST, WebSockets and the log page; an empty domain: CloudFront's own.

    Without it (`enabled = false`) there is REST alone, at API Gateway's address: a WebSocket API knows no paths.
    """

    enabled: bool = True
    domain: str = ""
    hosted_zone_id: str = ""
    requests_per_five_minutes: Rate = 30_000


@dataclass(frozen=True, config=_CHECKED)
class Stage:
    name: Name
    account: Account
    region: Region
    alarm_email: str = ""
    deletion_protection: bool = True
    hosts: tuple[Address, ...] = ()  # address:port of Docker hosts, that the preflight looks for
    network: Network = field(default_factory=Network)
    edge: Edge = field(default_factory=Edge)
    settings: dict[str, Setting] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        return f"{APP}-{self.name}"

    def function(self, name: str) -> str:
        """What Chalice calls the function of this name: the one behind REST as app and stage alone."""
        return self.prefix if name == "api_handler" else f"{self.prefix}-{name}"

    @property
    def deposit(self) -> str:
        """The bucket that remembers between deploys."""
        return f"{self.prefix}-deploys-{self.account}"

    @property
    def table(self) -> str:
        """The table that is declared, unless the settings name one that was restored from a backup."""
        return self.settings.get("SLIPWAY_TABLE", self.prefix)


def read(name: str, folder: Path = STAGES) -> Stage:
    """Raise `DeployError` that names the stages there are, or the key that is wrong."""
    path = folder / f"{name}.toml"
    if not path.is_file():
        there = ", ".join(sorted(each.stem for each in folder.glob("*.toml"))) or "none"
        raise DeployError(f"there is no stage {name!r}: {path.name} is not in infra/stages (there: {there})")
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DeployError(f"{path.name} is not TOML: {error}") from None
    return _stage(name, given, path.name)


def _stage(name: str, given: dict[str, Any], file: str) -> Stage:
    if "name" in given:
        raise DeployError(f"{file}: unknown key 'name': a stage is called as its file")
    try:
        checked = TypeAdapter(Stage).validate_json(json.dumps({**given, "name": name}, default=str))
    except ValidationError as error:
        raise DeployError(f"{file}: " + "; ".join(_finding(each) for each in error.errors())) from None
    settings = {f"SLIPWAY_{key.upper()}": value for key, value in checked.settings.items()}
    stage = replace(checked, settings=settings)
    network, edge = stage.network, stage.edge
    if network.mode == "given" and not (network.subnet_ids and network.security_group_ids):
        raise DeployError(f"{file}: network.mode given needs subnet_ids and security_group_ids")
    if edge.domain and not edge.hosted_zone_id:
        raise DeployError(f"{file}: edge.domain needs edge.hosted_zone_id, the Route 53 zone of that domain")
    _known_settings(settings, file)
    return stage


def _finding(error: Any) -> str:
    """The key, what is wrong with it, and what was given."""
    *where, key = [str(each) for each in error["loc"]]
    kind = error["type"]
    if kind == "unexpected_keyword_argument":
        known: Any = {"network": Network, "edge": Edge}[where[0]] if where else Stage
        fields = ", ".join(sorted(known.__dataclass_fields__.keys() - {"name"}))
        return f"{'.'.join(where)}{': ' if where else ''}unknown key {key!r} (known: {fields})"
    path = ".".join([*where, key])
    if where[:1] == ["settings"]:
        return (
            f"settings.{where[1] if len(where) > 1 else key} must be a text or a whole number, not {error['input']!r}"
        )
    if kind == "missing":
        return f"{path} is missing"
    said = _SAID.get(key) or error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return f"{path} must be {said}, not {error['input']!r}" if kind != "dataclass_type" else f"{path} must be a table"


def _known_settings(settings: dict[str, str], file: str) -> None:
    from chalicelib.settings import Settings  # noqa: PLC0415  only a deploy needs it

    for variable in settings:
        if variable.removeprefix("SLIPWAY_").lower() not in Settings.__dataclass_fields__:
            raise DeployError(f"{file}: settings: {variable} is no setting of Slipway")
    try:
        Settings.from_environment(settings)
    except ValueError as error:
        raise DeployError(f"{file}: settings: {error}") from None
