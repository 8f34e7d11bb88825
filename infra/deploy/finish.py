"""What neither CloudFormation nor Chalice sets: said to AWS after each `chalice deploy`, and safe to say again.

* API Gateway's own answers get our error shape. Chalice imports the whole API anew at each deploy, which takes them
  away: for some seconds of a deploy API Gateway answers in its own words.
* Asynchronous calls that failed for good go to the dead letters.
* The API's function gets its log group: Chalice makes one by a name that Lambda does not write to, and the function's
  role may make none.
* Lines of functions' logs are counted for alarms: the log groups are Chalice's.
* The addresses go to parameters, where people and agents' installers find them.
* The first admin's token.
"""

import json
from typing import Any

from botocore.exceptions import ClientError

from chalicelib.domain.errors import NotFound
from chalicelib.domain.panel import Token, hash_of, new_token, parse_token
from chalicelib.domain.words import now
from chalicelib.store.records import Records
from chalicelib.store.table import Lost, Table
from infra.deploy.stages import Stage

# API Gateway's answer → its status and our code. DEFAULT_… are for whatever is not named.
ANSWERS = {
    "MISSING_AUTHENTICATION_TOKEN": (404, "not_found"),  # what it says of a route that does not exist
    "RESOURCE_NOT_FOUND": (404, "not_found"),
    "REQUEST_TOO_LARGE": (413, "too_large"),
    "UNSUPPORTED_MEDIA_TYPE": (415, "unsupported_media_type"),
    "BAD_REQUEST_BODY": (400, "invalid_request"),
    "BAD_REQUEST_PARAMETERS": (400, "invalid_request"),
    "THROTTLED": (429, "rate_limited"),
    "QUOTA_EXCEEDED": (429, "rate_limited"),
    "WAF_FILTERED": (403, "forbidden"),
    "ACCESS_DENIED": (403, "forbidden"),
    "INTEGRATION_TIMEOUT": (504, "host_timeout"),
    "INTEGRATION_FAILURE": (503, "unavailable"),
    "DEFAULT_4XX": (None, "invalid_request"),
    "DEFAULT_5XX": (None, "internal_error"),
}
# Where API Gateway's own words are of something else; the rest keeps them, which come with their quotes.
_THEIR_WORDS = "$context.error.messageString"
WORDS = {
    "MISSING_AUTHENTICATION_TOKEN": "there is no such route, or it takes another method",
    "RESOURCE_NOT_FOUND": "there is no such route, or it takes another method",
}
# In API Gateway's own template language.
_BODY = '{"error":{"code":"CODE","message":WORDS,"details":null,"request_id":"$context.requestId"}}'
# Filter → the end of the function's name, what its lines have in them, the metric. `?` is an "or".
COUNTED = {
    "silent-agents": ("-keeper", '"silent_agents"', "MinutesWithSilentAgents"),
    # "[ERROR] " and a class begin the line by which Lambda tells what a function raised. A step raises SlipwayError
    # itself for faults alone, its subclasses for what hosts and customers' containers did.
    "step-faults": (
        "-host_step",
        (
            '?"[ERROR] SlipwayError:" ?"[ERROR] Runtime." ?"[ERROR] ImportError:" ?"[ERROR] ModuleNotFoundError:"'
            ' ?"[ERROR] ClientError:"'
        ),
        "StepFaults",
    ),
    "api-faults": ("", '"request" "failed" "Traceback"', "ApiFaults"),
}
# Those whose next run makes up for one that failed are not tried again.
_ASYNCHRONOUS = {"host_call": 2, "reaper": 0, "reconciler": 0, "keeper": 0}


def api_answers(client: Any, api_id: str, api_stage: str) -> None:
    for kind, (status, code) in ANSWERS.items():
        words = json.dumps(WORDS[kind]) if kind in WORDS else _THEIR_WORDS
        body = _BODY.replace("CODE", code).replace("WORDS", words)
        more = {"statusCode": str(status)} if status else {}
        client.put_gateway_response(
            restApiId=api_id,
            responseType=kind,
            responseParameters={
                "gatewayresponse.header.Access-Control-Allow-Origin": "'*'",
                "gatewayresponse.header.X-Request-Id": "context.requestId",
            },
            responseTemplates={"application/json": body},
            **more,
        )
    client.create_deployment(restApiId=api_id, stageName=api_stage, description="answers in Slipway's shape")


def dead_letters(client: Any, stage: Stage, functions: set[str], partition: str = "aws") -> None:
    queue = f"arn:{partition}:sqs:{stage.region}:{stage.account}:{stage.prefix}-dead-letters"
    for name, again in _ASYNCHRONOUS.items():
        if f"{stage.prefix}-{name}" in functions:
            client.put_function_event_invoke_config(
                FunctionName=f"{stage.prefix}-{name}",
                MaximumRetryAttempts=again,
                MaximumEventAgeInSeconds=600,
                DestinationConfig={"OnFailure": {"Destination": queue}},
            )


def api_log(client: Any, stage: Stage, days: int) -> None:
    """Lines of the API's function are kept for so many days."""
    group = f"/aws/lambda/{stage.prefix}"
    try:
        client.create_log_group(logGroupName=group)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceAlreadyExistsException":
            raise
    client.put_retention_policy(logGroupName=group, retentionInDays=days)


def counted_lines(client: Any, stage: Stage) -> None:
    """Have each such line be one of the alarm's metric."""
    for name, (function, pattern, metric) in COUNTED.items():
        client.put_metric_filter(
            logGroupName=f"/aws/lambda/{stage.prefix}{function}",
            filterName=name,
            filterPattern=pattern,
            metricTransformations=[{"metricNamespace": stage.prefix, "metricName": metric, "metricValue": "1"}],
        )


def parameters(client: Any, stage: Stage, addresses: dict[str, str]) -> None:
    for name, value in addresses.items():
        path = f"/slipway/{stage.name}/{name.removeprefix('SLIPWAY_').lower().replace('_', '-')}"
        client.put_parameter(Name=path, Value=value, Type="String", Overwrite=True)


def admin_token(secrets: Any, table: Table, secret_id: str) -> bool:
    """Make the first admin's token if there never was one; whether it was made.

    Its text is kept before it counts: cut off in between, the next deploy goes on with the same text.
    """
    text = _kept(secrets, secret_id)
    tokens: Records[Token] = Records(table, "TOKENS", Token, "token")
    if text is None:
        if tokens.all():
            return False  # somebody made tokens otherwise, and the secret was emptied on purpose
        text = new_token("first admin", "admin", None, None, now())[1]
        secrets.put_secret_value(SecretId=secret_id, SecretString=json.dumps({"token": text}))
    parsed = parse_token(text)
    if parsed is None:
        return False  # another value was put there
    token_id, secret = parsed
    try:
        tokens.get(token_id)
    except NotFound:
        token = Token(id=token_id, name="first admin", role="admin", secret_hash=hash_of(secret), created_at=now())
        try:
            tokens.add(token)
        except Lost:
            return False
        return True
    return False


def _kept(secrets: Any, secret_id: str) -> str | None:
    """None while nothing was ever put there; an empty text for a value that is not ours."""
    try:
        text = secrets.get_secret_value(SecretId=secret_id)["SecretString"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return None
        raise
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError:
        return ""
    return str(value.get("token", "")) if isinstance(value, dict) else ""
