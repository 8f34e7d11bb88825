"""Templates: the catalogue that ships with Slipway, and the operator's own, which may not take a shipped one's id."""

from functools import cache
from pathlib import Path

from chalicelib.domain.errors import Conflict, NotFound
from chalicelib.domain.template import Template
from chalicelib.store.table import Lost, Table, delete, put

_SHIPPED = Path(__file__).parent.parent / "catalogue"


class TemplateStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def all(self) -> list[Template]:
        own = (Template.model_validate_json(item["template"]) for item in self._table.query("TEMPLATES"))
        return sorted([*_shipped().values(), *own], key=lambda template: template.id)

    def get(self, template_id: str) -> Template:
        """Raise `NotFound` if there is none."""
        if template_id in _shipped():
            return _shipped()[template_id]
        item = self._table.get(("TEMPLATES", template_id))
        if item is None:
            raise NotFound("no such template")
        return Template.model_validate_json(item["template"])

    def add(self, template: Template) -> None:
        """Raise `Conflict` if the id is taken."""
        write = put(("TEMPLATES", template.id), {"template": template.model_dump_json()}, "attribute_not_exists(pk)")
        try:
            if template.id in _shipped():
                raise Conflict(f"template {template.id} is part of the catalogue")
            self._table.write(write)
        except Lost as error:
            raise Conflict(f"a template {template.id} exists already") from error

    def remove(self, template_id: str) -> None:
        """Raise `NotFound` if there is none, `Conflict` if it ships with Slipway."""
        if template_id in _shipped():
            raise Conflict(f"template {template_id} is part of the catalogue")
        try:
            self._table.write(delete(("TEMPLATES", template_id), "attribute_exists(pk)"))
        except Lost as error:
            raise NotFound("no such template") from error


@cache
def _shipped() -> dict[str, Template]:
    import yaml  # noqa: PLC0415  most requests read no template

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one reads the catalogue in a tenth of the time
    found = (Template.model_validate(yaml.load(path.read_text(), loader)) for path in _SHIPPED.glob("*.yaml"))  # noqa: S506
    return {template.id: template for template in found}
