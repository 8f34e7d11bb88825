"""The APIs of this installation that AWS has, found by what they call and not by a file.

A deploy that failed after it made an API leaves one that Chalice does not know of. It is recognised by its
integration with our function (a WebSocket API by its name, which Chalice makes of app and stage), and written into
Chalice's state: adopted, where Chalice would have made a second one with another address.
"""

from typing import Any

from infra.deploy.errors import DeployError
from infra.deploy.stages import APP, Stage

REST, SOCKETS = "rest_api", "websocket_api"


def adopted(stage: Stage, state: dict[str, Any] | None, clients: Any) -> tuple[dict[str, Any] | None, list[str]]:
    """The state with what it lacked, and a line for each API that it now knows. `DeployError` if there are two."""
    known = {each["name"]: each for each in (state or {}).get("resources", [])}
    lines = []
    for kind, found in ((REST, rest_apis(stage, clients)), (SOCKETS, socket_apis(stage, clients))):
        if known.get(kind, {}).get(f"{kind}_id") in found:
            continue
        if len(found) > 1:
            raise DeployError(
                f"{kind}: {', '.join(found)} all belong to {stage.prefix}, and no deploy is known to have made one: "
                "delete those whose address nobody uses, then deploy again"
            )
        if found:
            known[kind] = {"name": kind, "resource_type": kind, f"{kind}_id": found[0]}
            lines.append(f"{kind} {found[0]} of an earlier deploy is adopted")
    if not known:
        return state, lines
    return {**(state or {"schema_version": "2.0", "backend": "api"}), "resources": list(known.values())}, lines


def rest_apis(stage: Stage, clients: Any) -> list[str]:
    client = clients("apigateway")
    found = []
    for page in client.get_paginator("get_rest_apis").paginate():
        found += [api["id"] for api in page["items"] if api["name"] == APP and _calls_us(stage, client, api["id"])]
    return found


def socket_apis(stage: Stage, clients: Any) -> list[str]:
    client = clients("apigatewayv2")
    name = f"{stage.prefix}-websocket-api"
    answer = client.get_apis(MaxResults="500")
    return [api["ApiId"] for api in answer["Items"] if api["Name"] == name and api.get("ProtocolType") == "WEBSOCKET"]


def _calls_us(stage: Stage, client: Any, api_id: str) -> bool:
    ours = f":function:{stage.prefix}/invocations"
    for page in client.get_paginator("get_resources").paginate(restApiId=api_id, embed=["methods"]):
        for resource in page["items"]:
            for method in resource.get("resourceMethods", {}).values():
                if ours in method.get("methodIntegration", {}).get("uri", ""):
                    return True
    return False
