"""Change, redeploy, roll back and delete a service: each begins a job, and answers before it is done."""

from pydantic import Field, model_validator

from chalicelib.api import views
from chalicelib.api.contract import Says
from chalicelib.api.http import Answer, Request, Routes, WireIn
from chalicelib.api.limits import merged
from chalicelib.api.services.access import customer_to_deploy_for, service_to_change
from chalicelib.api.services.bodies import DryRun, VariableName, VariableValue, WantedLimits, WantedRepository
from chalicelib.api.services.plans import plan_of, planning_of, warnings_of
from chalicelib.api.versions import etag
from chalicelib.deploy import drafting, sources, start
from chalicelib.domain.errors import ValidationFailed
from chalicelib.domain.service import Limits, Service
from chalicelib.domain.words import DnsLabel, finding
from chalicelib.wiring import adapters

routes = Routes(__name__)

_DEPLOYING = Says(views.ServiceDeploying, ("X-Job-Id",))


class ChangeService(WantedRepository):
    """Variables and limits are merged: a value sets one, null takes it away, as it does a branch or a credential."""

    name: DnsLabel | None = None
    compose: str | None = None
    variables: dict[VariableName, VariableValue | None] | None = Field(None, max_length=500)
    secret_variables: list[VariableName] = Field(default_factory=list, max_length=500)
    limits: WantedLimits | None = None

    @model_validator(mode="after")
    def _changes_something(self) -> "ChangeService":
        changing = {"name", "compose", "variables", "limits", *WantedRepository.model_fields}
        if not self.model_fields_set & changing:
            raise ValueError("nothing to change: give name, compose, variables, limits or one of the git_ fields")
        return self


class RollBack(WireIn):
    release: int | None = Field(default=None, ge=1)


@routes.on("POST", "/services/{service_id}/redeploy", role="deployer", conditional=True, answers={200: _DEPLOYING})
def redeploy_service(request: Request, service_id: str) -> Answer:
    """Run it again, as a further release with the newest images of its tags."""
    service = service_to_change(service_id, request)
    customer_to_deploy_for(service.customer_id, request.caller)
    adapters().services.refuse_if_busy(service_id)
    job = start.redeploy(service, request.caller)
    body = views.ServiceDeploying(id=service.id, status="deploying", deploy_job_id=job.id)
    return Answer(body, 200, {"X-Job-Id": job.id})


@routes.on(
    "PATCH",
    "/services/{service_id}",
    role="deployer",
    body=ChangeService,
    query=DryRun,
    conditional=True,
    # A dry run has no job and no new version.
    answers={
        200: Says(views.ServiceChanging, ("X-Job-Id", "ETag"), instead=views.Plan),
        202: Says(views.Planning, ("X-Job-Id",)),
    },
)
def change_service(request: Request, service_id: str) -> Answer:
    """Run the service changed, as a further release. `?dry_run=true` shows the plan and touches nothing."""
    service = service_to_change(service_id, request)
    wanted = request.body(ChangeService)
    dry = request.parameters(DryRun).dry_run
    customer_to_deploy_for(service.customer_id, request.caller)
    change = drafting.Change(
        name=wanted.name,
        compose=wanted.compose,
        variables=wanted.variables,
        secret_names=tuple(wanted.secret_variables),
        limits=_limits(service, wanted),
        repository=wanted.sources(),
        credentials=wanted.credentials(),
    )
    drafted = drafting.draft_change(service, change)
    if not drafted.changed:
        message = "nothing to change: it is all as it is by now; redeploy runs the service again"
        raise ValidationFailed(message, [finding("body", "nothing-to-change", message)])
    if drafted.source.repository:
        sources.check("git_url", drafted.source.repository.url, drafted.source.credentials)
    if dry and drafted.source.repository:
        return planning_of(drafted, start.plan(drafting.hidden(drafted), request.caller))
    if dry:
        return Answer(plan_of(drafted))
    adapters().services.refuse_if_busy(service_id)
    job = start.update(drafted, request.caller, same_sources=not change.is_of_sources)
    body = views.ServiceChanging(id=service.id, status="deploying", deploy_job_id=job.id, warnings=warnings_of(drafted))
    return Answer(body, 200, {"X-Job-Id": job.id, **etag(service.version + 1)})  # what beginning the job left


@routes.on(
    "POST",
    "/services/{service_id}/rollback",
    role="deployer",
    body=RollBack,
    body_is_required=False,
    conditional=True,
    answers={200: _DEPLOYING},
)
def roll_back_service(request: Request, service_id: str) -> Answer:
    """Run a kept release again; without a number, the good one before the one that runs."""
    service = service_to_change(service_id, request)
    wanted = request.body(RollBack) if request.raw_body else RollBack()
    customer_to_deploy_for(service.customer_id, request.caller)
    adapters().services.refuse_if_busy(service_id)
    job = start.roll_back(service, wanted.release, request.caller)
    body = views.ServiceDeploying(id=service.id, status="deploying", deploy_job_id=job.id)
    return Answer(body, 200, {"X-Job-Id": job.id})


@routes.on(
    "DELETE",
    "/services/{service_id}",
    role="deployer",
    conditional=True,
    answers={204: Says(None, ("X-Job-Id",))},
)
def delete_service(request: Request, service_id: str) -> Answer:
    """Delete it. It is gone from every read at once; a job takes it off its host."""
    service = service_to_change(service_id, request)
    adapters().services.refuse_if_busy(service_id)
    job = start.remove(service, request.caller)
    return Answer(None, 204, {"X-Job-Id": job.id})


def _limits(service: Service, wanted: ChangeService) -> Limits | None:
    if wanted.limits:
        return merged(service.limits, wanted.limits)
    return Limits() if "limits" in wanted.model_fields_set else None
