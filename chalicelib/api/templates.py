"""/templates: what can be deployed by name."""

from typing import Any

from pydantic import ConfigDict, Field

from chalicelib.api.http import Answer, Request, Routes, WireIn
from chalicelib.domain.errors import ValidationFailed
from chalicelib.domain.template import Template
from chalicelib.domain.words import finding
from chalicelib.wiring import adapters

routes = Routes(__name__)


class ListTemplates(WireIn):
    category: str | None = Field(None, max_length=100)
    search: str | None = Field(None, max_length=200)


class CreateTemplate(WireIn, Template):
    """A template as it is stored; lists are taken for its tuples, as JSON has no others."""

    model_config = ConfigDict(extra="forbid", strict=False, frozen=True)


@routes.on("GET", "/templates")
def list_templates(request: Request) -> Any:
    wanted = request.parameters(ListTemplates)
    search = (wanted.search or "").lower()
    views = [
        _view(template)
        for template in adapters().templates.all()
        if wanted.category in (None, template.category)
        and search in f"{template.id} {template.name} {template.description}".lower()
    ]
    return {"data": views, "total": len(views), "page": 1, "per_page": len(views)}


@routes.on("POST", "/templates", role="admin")
def create_template(request: Request) -> Answer:
    """Add a template of the operator's own; its compose text is held to the policy that any service's is."""
    wanted = request.body(CreateTemplate)
    template = Template.model_validate(wanted.model_dump())
    _judge(template)
    adapters().templates.add(template)
    return Answer(_view(template), 201, {"Location": f"/api/templates/{template.id}"})


@routes.on("GET", "/templates/{template_id}")
def get_template(request: Request, template_id: str) -> Any:
    template = adapters().templates.get(template_id)
    return {**_view(template), "compose": template.compose}


@routes.on("DELETE", "/templates/{template_id}", role="admin")
def delete_template(request: Request, template_id: str) -> Answer:
    """Remove a template of the operator's own. Services made from it go on: each has a copy of the text."""
    adapters().templates.remove(template_id)
    return Answer(None, 204)


def _judge(template: Template) -> None:
    from chalicelib.domain import compose  # noqa: PLC0415  # only this view of the module needs it

    stand_ins = {"integer": "1", "boolean": "true"}
    given = {
        variable.name: variable.default or stand_ins.get(variable.type, "example") for variable in template.variables
    }
    plan = compose.plan(
        template.compose,
        template.values(given, "example"),
        service_id="svc_0000000000000000",
        release=1,
        publish_ports=False,
        defaults=compose.Defaults(cpu_millis=1000, memory_mb=512, pids=1024),
        expose=(template.expose.service, template.expose.port) if template.expose else None,
    )
    if template.expose and template.expose.service not in plan.document["services"]:
        message = f"the compose text has no service {template.expose.service}"
        raise ValidationFailed(message, [finding("expose.service", "unknown", message)])


def _view(template: Template) -> dict[str, Any]:
    return template.model_dump(mode="json", exclude={"compose"})
