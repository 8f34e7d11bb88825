"""What bodies about services have in common: names, values and limits."""

from typing import Annotated

from pydantic import Field

from chalicelib.api.http import TrueOrFalse, WireIn
from chalicelib.domain.service import Limits

VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
VariableValue = Annotated[str, Field(max_length=32_768)]
Id = Annotated[str, Field(min_length=1, max_length=100)]


class WantedLimits(WireIn):
    """A container's limits where its author gave none."""

    cpu: float | None = Field(None, gt=0, le=256)
    memory_mb: int | None = Field(None, ge=6, le=4_194_304)  # Docker takes no less than 6 MB

    def to_limits(self) -> Limits:
        return Limits(cpu_millis=round(self.cpu * 1000) if self.cpu else None, memory_mb=self.memory_mb)


class DryRun(WireIn):
    dry_run: TrueOrFalse = False
