"""What bodies about services have in common: names, values and limits."""

from typing import Annotated, Any

from pydantic import Field

from chalicelib.api.http import TrueOrFalse, WireIn
from chalicelib.domain.git import Branch, Commit, DeployKey, Folder, Token
from chalicelib.domain.service import LEAST_CPU

VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
VariableValue = Annotated[str, Field(max_length=32_768)]
Id = Annotated[str, Field(min_length=1, max_length=100)]


class WantedLimits(WireIn):
    """A container's limits where its author gave none; null: the installation's. One left out stays as it is."""

    cpu: float | None = Field(None, ge=LEAST_CPU, le=256)
    memory_mb: int | None = Field(None, ge=6, le=4_194_304)  # Docker takes no less than 6 MB


class WantedRepository(WireIn):
    """What is deployed from a repository, and what opens it."""

    git_url: str | None = None
    git_branch: Branch | None = None
    git_commit: Commit | None = None
    git_path: Folder | None = None
    git_submodules: bool | None = None
    git_token: Token | None = None
    git_deploy_key: DeployKey | None = None

    def credentials(self) -> dict[str, str | None]:
        """Those that were named; null takes one away."""
        named = {"token": "git_token", "deploy_key": "git_deploy_key"}
        return {name: getattr(self, field) for name, field in named.items() if field in self.model_fields_set}

    def sources(self) -> dict[str, Any]:
        """What was named of the repository, as `Repository` has it."""
        named = {"branch": "git_branch", "commit": "git_commit"}
        found = {name: getattr(self, field) for name, field in named.items() if field in self.model_fields_set}
        given = {"url": self.git_url, "path": self.git_path, "submodules": self.git_submodules}
        return found | {name: value for name, value in given.items() if value is not None}


class DryRun(WireIn):
    dry_run: TrueOrFalse = False
