"""/templates: what can be deployed by name."""

from typing import Annotated, Literal

from pydantic import Field

from chalicelib.api import views
from chalicelib.api.contract import Says
from chalicelib.api.http import Answer, Request, Routes, WireIn
from chalicelib.api.pages import Paged
from chalicelib.domain.template import Expose, MinResources, Tag, Template, TemplateHealthCheck
from chalicelib.domain.variable import OWN_FIELDS, SECRET_LENGTH, Text, Variable
from chalicelib.wiring import adapters

routes = Routes(__name__)

# JSON has lists where a frozen noun has tuples; nothing else is converted.
_a_list = Field(strict=False)


class ListTemplates(Paged):
    category: str | None = Field(None, max_length=100)
    search: str | None = Field(None, max_length=200)
    featured: Literal["true", "false"] | None = None


# Stored templates are read leniently; what somebody writes is not, or a misspelt field would be lost without a word.


class WantedVariable(Variable, WireIn):
    options: Annotated[tuple[Text, ...], _a_list] = Field(default=(), max_length=20)


class WantedExpose(Expose, WireIn):
    pass


class WantedHealthCheck(TemplateHealthCheck, WireIn):
    pass


class WantedMinResources(MinResources, WireIn):
    pass


class CreateTemplate(Template, WireIn):
    tags: Annotated[tuple[Tag, ...], _a_list] = Field(default=(), max_length=20)
    variables: Annotated[tuple[WantedVariable, ...], _a_list] = Field(default=(), max_length=100)
    expose: WantedExpose | None = None
    healthcheck: WantedHealthCheck | None = None
    min_resources: WantedMinResources = Field(default_factory=WantedMinResources)

    def to_template(self) -> Template:
        return Template.model_validate(self.model_dump())


@routes.on("GET", "/templates", query=ListTemplates, answers={200: views.TemplatePage})
def list_templates(request: Request) -> views.TemplatePage:
    """Templates of the catalogue and of the operator, without their texts."""
    wanted = request.parameters(ListTemplates)
    search = (wanted.search or "").lower()
    found = [
        template
        for template in adapters().templates.all()
        if wanted.category in (None, template.category)
        and wanted.featured in (None, "true" if template.featured else "false")
        and search in " ".join((template.id, template.name, template.description, *template.tags)).lower()
    ]
    shown = [_view(template) for template in wanted.of(found)]
    return views.TemplatePage(data=shown, total=len(found), page=wanted.page, per_page=wanted.per_page)


@routes.on(
    "POST",
    "/templates",
    role="admin",
    body=CreateTemplate,
    answers={201: Says(views.TemplateRow, ("Location",))},
)
def create_template(request: Request) -> Answer:
    """Add a template of the operator's own; its compose text is held to the policy that any service's is."""
    template = request.body(CreateTemplate).to_template()
    _check(template)
    adapters().templates.add(template)
    return Answer(_view(template), 201, {"Location": f"/api/templates/{template.id}"})


@routes.on("GET", "/templates/{template_id}", answers={200: views.Template})
def get_template(request: Request, template_id: str) -> views.Template:
    """One template, with its compose text."""
    template = adapters().templates.get(template_id)
    return {**_view(template), "compose": template.compose}


@routes.on("DELETE", "/templates/{template_id}", role="admin", answers={204: Says(None)})
def delete_template(request: Request, template_id: str) -> Answer:
    """Remove a template of the operator's own. Services made from it go on: each has a copy of the text."""
    adapters().templates.remove(template_id)
    return Answer(None, 204)


def _check(template: Template) -> None:
    from chalicelib.domain import compose  # noqa: PLC0415  only this view of the module needs it
    from chalicelib.domain.template_check import check  # noqa: PLC0415

    settings = adapters().settings
    defaults = compose.Defaults(
        cpu_millis=settings.default_cpu_millis, memory_mb=settings.default_memory_mb, pids=settings.default_pids
    )
    check(template, defaults)


def _view(template: Template) -> views.TemplateRow:
    """All but the compose text, with what is meant by what was left out."""
    expose, check, needs = template.expose, template.healthcheck, template.min_resources
    return views.TemplateRow(
        id=template.id,
        name=template.name,
        description=template.description,
        category=template.category,
        tags=list(template.tags),
        featured=template.featured,
        expose=views.TemplateExpose(service=expose.service, port=expose.port, protocol=expose.protocol)
        if expose
        else None,
        healthcheck=views.TemplateHealthCheck(
            path=check.path, port=check.port or (expose.port if expose else None), timeout_seconds=check.timeout_seconds
        )
        if check
        else None,
        min_resources=views.TemplateMinResources(cpu=needs.cpu, memory_mb=needs.memory_mb, storage_mb=needs.storage_mb),
        variables=[_variable_view(variable) for variable in template.variables],
    )


def _variable_view(variable: Variable) -> views.TemplateVariable:
    own = variable.model_dump(mode="json", include=set(OWN_FIELDS[variable.type]))
    if variable.type == "secret":
        own |= {"length": variable.length or SECRET_LENGTH, "charset": variable.charset or "alnum"}
    told = views.TemplateVariable(
        name=variable.name,
        label=variable.label,
        description=variable.description,
        placeholder=variable.placeholder,
        type=variable.type,
        required=variable.required,
        default=variable.default,
    )
    return {**told, **own}  # type: ignore[typeddict-item]  # which of the rest there are depends on its type
