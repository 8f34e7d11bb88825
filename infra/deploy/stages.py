"""What one installation decides: `infra/stages/<stage>.toml`, read once and checked before anything is touched."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.deploy.errors import DeployError

PROJECT = Path(__file__).resolve().parents[2]
STAGES = PROJECT / "infra" / "stages"
APP = "slipway"


@dataclass(frozen=True)
class Network:
    """Where the two functions that speak SSH stand: `none`, `own` (infra/network.yaml) or `given` subnets."""

    mode: str = "none"
    range: str = "10.200.0.0/24"
    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edge:
    """One host name for REST, WebSockets and the log page; an empty domain: CloudFront's own.

    Without it (`enabled = false`) there is REST alone, at API Gateway's address: a WebSocket API knows no paths.
    """

    enabled: bool = True
    domain: str = ""
    hosted_zone_id: str = ""
    requests_per_five_minutes: int = 30_000


@dataclass(frozen=True)
class Stage:
    name: str
    account: str
    region: str
    alarm_email: str = ""
    deletion_protection: bool = True
    hosts: tuple[str, ...] = ()  # address:port of Docker hosts, that the preflight looks for
    network: Network = field(default_factory=Network)
    edge: Edge = field(default_factory=Edge)
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def prefix(self) -> str:
        return f"{APP}-{self.name}"

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
        given = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise DeployError(f"{path.name} is not TOML: {error}") from None
    return _stage(name, given, path.name)


def _stage(name: str, given: dict[str, Any], file: str) -> Stage:
    network = _part(Network, given.pop("network", {}), f"{file}: network")
    edge = _part(Edge, given.pop("edge", {}), f"{file}: edge")
    settings = {f"SLIPWAY_{key.upper()}": str(value) for key, value in given.pop("settings", {}).items()}
    stage: Stage = _part(Stage, {"name": name, **given}, file, network=network, edge=edge, settings=settings)
    if not (stage.account.isdigit() and len(stage.account) == 12):  # noqa: PLR2004  AWS's account ids
        raise DeployError(f"{file}: account must be the twelve digits of the AWS account that this stage belongs to")
    if network.mode not in {"none", "own", "given"}:
        raise DeployError(f"{file}: network.mode must be none, own or given, not {network.mode!r}")
    if network.mode == "given" and not (network.subnet_ids and network.security_group_ids):
        raise DeployError(f"{file}: network.mode given needs subnet_ids and security_group_ids")
    if edge.domain and not edge.hosted_zone_id:
        raise DeployError(f"{file}: edge.domain needs edge.hosted_zone_id, the Route 53 zone of that domain")
    _known_settings(settings, file)
    return stage


def _part(kind: Any, given: dict[str, Any], where: str, **more: Any) -> Any:
    known = kind.__dataclass_fields__
    unknown = sorted(given.keys() - known.keys())
    if unknown:
        raise DeployError(f"{where}: unknown key {unknown[0]!r} (known: {', '.join(sorted(known))})")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}
    try:
        return kind(**values, **more)
    except TypeError as error:
        raise DeployError(f"{where}: {str(error).rpartition('() ')[2]}") from None


def _known_settings(settings: dict[str, str], file: str) -> None:
    from chalicelib.settings import Settings  # noqa: PLC0415  only a deploy needs it

    for variable in settings:
        if variable.removeprefix("SLIPWAY_").lower() not in Settings.__dataclass_fields__:
            raise DeployError(f"{file}: settings: {variable} is no setting of Slipway")
    try:
        Settings.from_environment(settings)
    except ValueError as error:
        raise DeployError(f"{file}: settings: {error}") from None
