"""The environment, typed and read once. Nothing else in Slipway reads `os.environ`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Settings:
    """What an installation decides. Every field is set by `SLIPWAY_<FIELD IN CAPITALS>`."""

    table: str = "slipway"
    bucket: str = "slipway"
    state_machine_arn: str = ""
    kms_key_id: str = "alias/slipway"
    host_call_function: str = "host_call"
    stage: str = "local"
    base_domain: str = "localhost"
    url_scheme: str = "http"
    url_port: int = 0  # 0: the scheme's own port, not written in URLs
    edge_image: str = "caddy:2"
    edge_http_port: int = 80
    edge_https_port: int = 0  # 0: no TLS on the host's edge
    edge_tls: str = "off"  # off, or acme: one certificate a name from a public authority
    acme_email: str = ""
    network_pool: str = "10.201.0.0/16"
    min_disk_mb: int = 512
    default_cpu_millis: int = 1000
    default_memory_mb: int = 512
    default_pids: int = 1024
    releases_kept: int = 10
    jobs_at_once_per_host: int = 4
    cpu_overcommit_percent: int = 400
    memory_overcommit_percent: int = 90
    default_disk_mb: int = 256
    deploy_deadline_seconds: int = 1800
    remove_deadline_seconds: int = 86400
    health_timeout_seconds: int = 120
    git_allowed_networks: str = ""  # beside the public ones, by commas: "10.1.0.0/16,127.0.0.0/8"; http goes to these
    git_fetch_timeout_seconds: int = 120
    max_repository_mb: int = 500
    build_timeout_seconds: int = 900
    build_cpu_millis: int = 2000
    build_memory_mb: int = 2048
    requests_per_minute: int = 600  # of one token, unless it has a limit of its own; 0: no limit
    audit_days: int = 365
    ai_provider: str = ""  # bedrock, openai (or whatever speaks as it does), or none: plans are the rules' alone
    ai_model: str = ""
    ai_base_url: str = ""
    ai_key: str = field(default="", repr=False)
    ai_key_sealed: str = field(default="", repr=False)  # the key as `infra.seal_key` prints it, in place of ai_key
    ai_timeout_seconds: int = 60
    ai_max_rounds: int = 3  # repairs of one deploy
    ai_max_tokens: int = 60_000  # asked and answered, in one deploy
    public_url: str = ""  # where this API answers; "" : hosts are given no agent
    edge_key_sha256: str = ""  # of the key that the edge shows; "": none stands before this API
    websocket_url: str = ""  # the same for WebSockets: wss://…
    websocket_endpoint: str = ""  # of API Gateway's @connections
    sign_of_life_seconds: int = 540  # on a quiet stream; API Gateway ends a connection that is idle for 600
    agent_pace_ms: int = 250  # at most one batch of log lines in this time from each host
    agent_stats_seconds: int = 15

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Raise `ValueError`, naming the variable, where a number is not one."""
        given: dict[str, str | int] = {}
        for name, setting in cls.__dataclass_fields__.items():
            variable = f"SLIPWAY_{name.upper()}"
            if variable in environment:
                text = environment[variable]
                given[name] = _number(variable, text) if setting.type is int else text
        return cls(**given)  # type: ignore[arg-type]

    @property
    def git_networks(self) -> list[str]:
        return [network.strip() for network in self.git_allowed_networks.split(",") if network.strip()]

    def url_of(self, name: str) -> str:
        """The address at which the service called `name` answers."""
        port = f":{self.url_port}" if self.url_port else ""
        return f"{self.url_scheme}://{name}.{self.base_domain}{port}"

    def host_name_of(self, name: str) -> str:
        return f"{name}.{self.base_domain}"


def _number(variable: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{variable} must be a whole number, not {text!r}") from None
