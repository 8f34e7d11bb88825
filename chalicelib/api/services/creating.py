"""POST /services: deploy a new one, or show the plan of it."""

from typing import Literal

from pydantic import Field, model_validator

from chalicelib.api import views
from chalicelib.api.contract import Says
from chalicelib.api.http import Answer, Request, Routes
from chalicelib.api.limits import merged
from chalicelib.api.services.access import customer_to_deploy_for
from chalicelib.api.services.bodies import DryRun, Id, VariableName, VariableValue, WantedLimits, WantedRepository
from chalicelib.api.services.plans import plan_of, planning_of, url_of, warnings_of
from chalicelib.api.versions import etag
from chalicelib.deploy import drafting, sources, start
from chalicelib.deploy.placing import Wish
from chalicelib.domain.errors import NotFound, ValidationFailed
from chalicelib.domain.git import Credentials, Repository
from chalicelib.domain.service import Limits
from chalicelib.domain.template import Template
from chalicelib.domain.words import DnsLabel, finding
from chalicelib.wiring import adapters

routes = Routes(__name__)

_OF_REPOSITORIES = tuple(field for field in WantedRepository.model_fields if field != "git_url")


class CreateService(WantedRepository):
    name: DnsLabel
    customer_id: Id
    deploy_method: Literal["template", "compose", "git", "ai"]
    template_id: Id | None = None
    compose: str | None = None
    ai_url: str | None = None
    variables: dict[VariableName, VariableValue] = Field(default_factory=dict, max_length=500)
    secret_variables: list[VariableName] = Field(default_factory=list, max_length=500)
    host_id: Id | None = None
    host_labels: dict[str, str] = Field(default_factory=dict, max_length=50)
    limits: WantedLimits | None = None

    @model_validator(mode="after")
    def _method_has_its_source(self) -> "CreateService":
        needs = {"template": "template_id", "compose": "compose", "git": "git_url", "ai": "ai_url"}
        source = needs[self.deploy_method]
        if not getattr(self, source):
            raise ValueError(f"{source} is required when deploy_method is {self.deploy_method}")
        allowed = {source, *_OF_REPOSITORIES} if self.deploy_method in ("git", "ai") else {source}
        for field in ("template_id", "compose", "git_url", "ai_url", *_OF_REPOSITORIES):
            if getattr(self, field) is not None and field not in allowed:
                raise ValueError(f"{field} does not go with deploy_method {self.deploy_method}")
        return self


@routes.on(
    "POST",
    "/services",
    role="deployer",
    body=CreateService,
    query=DryRun,
    answers={
        200: views.Plan,
        201: Says(views.ServiceCreated, ("Location", "X-Job-Id", "ETag")),
        202: Says(views.Planning, ("X-Job-Id",)),
    },
)
def create_service(request: Request) -> Answer:
    """Deploy a new service. `?dry_run=true` shows the plan and stores nothing; a repository's is made by a job: 202."""
    wanted = request.body(CreateService)
    dry = request.parameters(DryRun).dry_run
    customer = customer_to_deploy_for(wanted.customer_id, request.caller)
    url = wanted.git_url or wanted.ai_url
    credentials = Credentials(**wanted.credentials())
    if url:
        sources.check("git_url" if wanted.git_url else "ai_url", url, credentials)
    template = _template(wanted.template_id) if wanted.template_id else None
    if template:
        compose, variables = template.compose, template.values(wanted.variables, drafting.called(wanted.name))
    else:
        compose, variables = wanted.compose or "", wanted.variables
    drafted = drafting.draft(
        drafting.NewService(
            name=wanted.name,
            customer_id=customer.id,
            deploy_method=wanted.deploy_method,
            compose=compose,
            variables=variables,
            secret_names=(*(template.secret_names if template else ()), *wanted.secret_variables),
            template=template,
            wish=Wish(wanted.host_id, wanted.host_labels),
            limits=merged(Limits(), wanted.limits) if wanted.limits else Limits(),
            repository=Repository(**{**wanted.sources(), "url": url}) if url else None,
            credentials=credentials,
        ),
        request.caller,
    )
    if dry and url:
        return planning_of(drafted, start.plan(drafted, request.caller))
    if dry:
        return Answer(plan_of(drafted))
    service, job = start.create(drafted, request.caller)
    body = views.ServiceCreated(
        id=service.id,
        name=service.name,
        status=service.status,
        url=url_of(service.name, has_url=service.has_url),
        deploy_job_id=job.id,
        warnings=warnings_of(drafted),
    )
    headers = {"Location": f"/api/services/{service.id}", "X-Job-Id": job.id, **etag(service.version)}
    return Answer(body, 201, headers)


def _template(template_id: str) -> Template:
    try:
        return adapters().templates.get(template_id)
    except NotFound:
        raise ValidationFailed(
            "no such template", [finding("template_id", "unknown", "there is no such template; see GET /api/templates")]
        ) from None
