"""The APIs of this installation that AWS has, found by what they call and not by a file.

A deploy that failed after it made an API leaves one that Chalice does not know of. It is recognised by its
integration with our function (a WebSocket API by its name, which Chalice makes of app and stage), and written into
Chalice's state: adopted, where Chalice would have made a second one with another address. Of an API that it knows,
Chalice makes routes and integrations anew, and a REST API's stage; a WebSocket API's stage it makes with the API alone.
"""

from typing import Any

from botocore.exceptions import ClientError

from infra.deploy.errors import DeployError
from infra.deploy.stages import APP, Stage

REST, SOCKETS = "rest_api", "websocket_api"


def adopted(stage: Stage, state: dict[str, Any] | None, clients: Any) -> tuple[dict[str, Any] | None, list[str]]:
    """The state with what it lacked, and a line for each API that it now knows, or is none of its own.

    Raise `DeployError` if there are two, and the state knows neither.
    """
    known = {each["name"]: each for each in (state or {}).get("resources", [])}
    lines = []
    for kind, found in ((REST, rest_apis(stage, clients)), (SOCKETS, socket_apis(stage, clients))):
        if (ours := known.get(kind, {}).get(f"{kind}_id")) in found:
            lines += [f"{kind} {other} calls our functions too, and is left alone" for other in found if other != ours]
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


def give_sockets_a_stage(client: Any, api_id: str, name: str) -> bool:
    """Where a deploy was cut off before this WebSocket API had one with a deployment; whether it was made."""
    stage = sockets_stage(client, api_id, name)
    if stage and stage.get("DeploymentId"):
        return False
    deployment = client.create_deployment(ApiId=api_id)["DeploymentId"]
    make = client.create_stage if stage is None else client.update_stage
    make(ApiId=api_id, StageName=name, DeploymentId=deployment)
    return True


def without_a_stage(stage: Stage, state: dict[str, Any], clients: Any) -> list[str]:
    """A line for each API that this state must name and that nobody can reach, since its stage is not there."""
    known = {each["name"]: each for each in state.get("resources", [])}
    ways = {REST: (clients("apigateway"), _rest_stage), SOCKETS: (clients("apigatewayv2"), sockets_stage)}
    lines = []
    for kind, (client, look) in ways.items():
        api_id = known.get(kind, {}).get(f"{kind}_id")
        if api_id is None:
            lines.append(f"there is no {kind}")
            continue
        found = look(client, api_id, stage.name)
        if not (found and (found.get("DeploymentId") or found.get("deploymentId"))):
            lines.append(f"{kind} {api_id} has no stage {stage.name} with a deployment")
    return lines


def _rest_stage(client: Any, api_id: str, name: str) -> dict[str, Any] | None:
    return _found(client.get_stage, restApiId=api_id, stageName=name)


def sockets_stage(client: Any, api_id: str, name: str) -> dict[str, Any] | None:
    return _found(client.get_stage, ApiId=api_id, StageName=name)


def _found(look: Any, **words: str) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = look(**words)
    except ClientError as error:
        if error.response["Error"]["Code"] == "NotFoundException":
            return None
        raise
    return answer


def _calls_us(stage: Stage, client: Any, api_id: str) -> bool:
    ours = f":function:{stage.prefix}/invocations"
    for page in client.get_paginator("get_resources").paginate(restApiId=api_id, embed=["methods"]):
        for resource in page["items"]:
            for method in resource.get("resourceMethods", {}).values():
                if ours in method.get("methodIntegration", {}).get("uri", ""):
                    return True
    return False
