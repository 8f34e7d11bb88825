"""The command that deploys, against an emulated account: first, again, after a deploy that was cut off, and refused."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from chalicelib.domain.panel import hash_of
from infra.deploy.finish import ANSWERS
from tests.acceptance.cloud import ACCOUNT, REGION, STAGE, Account, account
from tests.acceptance.plane import stage_text

DEPOSIT = f"slipway-{STAGE}-deploys-{ACCOUNT}"
LOCK = f"lock/{STAGE}.json"


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    """An account into which Slipway was deployed once."""
    with account(tmp_path_factory.mktemp("account")) as made:
        made.write_stage(stage_text())
        done = made.run("up", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        yield made


def rest_apis(of: Account) -> list[str]:
    return [api["id"] for api in of.emulator.client("apigateway").get_rest_apis()["items"]]


def ask(of: Account, path: str, token: str | None = None) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return session.get(f"{of.api}{path}", headers=headers, timeout=60)


def function(of: Account, name: str) -> Any:
    return of.emulator.client("lambda").get_function(FunctionName=f"slipway-{STAGE}{name}")


def test_what_was_deployed_answers_and_its_first_admin_is_let_in(deployed: Account) -> None:
    assert ask(deployed, "/api/health").json() == {"status": "ok"}
    assert ask(deployed, "/api/hosts").status_code == 401
    assert ask(deployed, "/api/hosts", deployed.admin_token()).json()["total"] == 0


def test_api_gateways_own_answers_have_our_shape(deployed: Account) -> None:
    answer = ask(deployed, "/api/there/is/no/such/route")

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"
    assert answer.json()["error"].keys() == {"code", "message", "details", "request_id"}
    api_id = deployed.deployed()["rest_api"]["rest_api_id"]
    kept = deployed.emulator.client("apigateway").get_gateway_responses(restApiId=api_id, limit=500)["items"]
    ours = {each["responseType"]: each for each in kept if not each.get("defaultResponse")}
    assert ours.keys() >= ANSWERS.keys()


def test_every_function_has_a_log_to_write_to_and_it_is_not_kept_for_ever(deployed: Account) -> None:
    """A function's role may make no log group: without one its lines are lost."""
    groups = deployed.emulator.client("logs").describe_log_groups(limit=50)["logGroups"]
    kept = {each["logGroupName"]: each.get("retentionInDays") for each in groups}

    for each in deployed.emulator.client("lambda").list_functions()["Functions"]:
        assert kept[f"/aws/lambda/{each['FunctionName']}"] == 30


def test_each_function_has_its_own_role_reserve_and_address(deployed: Account) -> None:
    roles = set()
    for name in ("", "-host_step", "-host_call", "-reaper", "-reconciler"):
        told = function(deployed, name)
        roles.add(told["Configuration"]["Role"])
        assert told["Concurrency"]["ReservedConcurrentExecutions"] > 0
        settings = told["Configuration"]["Environment"]["Variables"]
        assert settings["SLIPWAY_TABLE"] == f"slipway-{STAGE}"
        assert "SLIPWAY_PUBLIC_URL" not in settings  # without an edge there is no address that sockets could have
        endpoint = settings["SLIPWAY_WEBSOCKET_ENDPOINT"]
        assert re.fullmatch(rf"https://\w+\.execute-api\.{REGION}\.amazonaws\.com/{STAGE}", endpoint)
    assert len(roles) == 5


def test_what_fails_for_good_goes_to_the_dead_letters(deployed: Account) -> None:
    client = deployed.emulator.client("lambda")

    for name in ("host_call", "reaper", "reconciler"):
        told = client.get_function_event_invoke_config(FunctionName=f"slipway-{STAGE}-{name}")
        assert told["DestinationConfig"]["OnFailure"]["Destination"].endswith(f":slipway-{STAGE}-dead-letters")


def test_the_address_is_in_a_parameter(deployed: Account) -> None:
    value = deployed.emulator.client("ssm").get_parameter(Name=f"/slipway/{STAGE}/public-url")["Parameter"]["Value"]

    assert value == f"https://{rest_apis(deployed)[0]}.execute-api.{REGION}.amazonaws.com/{STAGE}"


def test_the_workflow_calls_the_step_function_of_this_stage(deployed: Account) -> None:
    states = deployed.emulator.client("stepfunctions")
    arn = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:slipway-{STAGE}-deploy"

    definition = states.describe_state_machine(stateMachineArn=arn)["definition"]

    step = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:slipway-{STAGE}-host_step"
    assert json.loads(definition)["States"]["Up"]["Parameters"]["FunctionName"] == step


def test_a_second_deploy_changes_no_stack_and_no_address_and_makes_no_token(deployed: Account) -> None:
    before, token = rest_apis(deployed), deployed.admin_token()

    done = deployed.run("up", "--yes")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "no stack changes" in done.stdout
    assert done.stdout.count("chalice deploy") == 1
    assert rest_apis(deployed) == before
    assert deployed.admin_token() == token
    assert ask(deployed, "/api/hosts", token).status_code == 200


def test_a_deploy_that_lost_its_memory_adopts_the_api_there_is(deployed: Account) -> None:
    before = rest_apis(deployed)
    deployed.emulator.client("s3").delete_object(Bucket=DEPOSIT, Key=f"deployed/{STAGE}.json")

    done = deployed.run("up", "--yes")

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"rest_api {before[0]} of an earlier deploy is adopted" in done.stdout
    assert rest_apis(deployed) == before
    assert ask(deployed, "/api/health").status_code == 200


def test_two_apis_of_this_stage_and_no_memory_stop_a_deploy(deployed: Account) -> None:
    s3 = deployed.emulator.client("s3")
    kept = s3.get_object(Bucket=DEPOSIT, Key=f"deployed/{STAGE}.json")["Body"].read()
    s3.delete_object(Bucket=DEPOSIT, Key=f"deployed/{STAGE}.json")
    client = deployed.emulator.client("apigateway")
    second = client.create_rest_api(name="slipway")["id"]
    (root,) = [each["id"] for each in client.get_resources(restApiId=second)["items"]]
    client.put_method(restApiId=second, resourceId=root, httpMethod="GET", authorizationType="NONE")
    uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/"
    uri += f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:slipway-{STAGE}/invocations"
    client.put_integration(
        restApiId=second, resourceId=root, httpMethod="GET", type="AWS_PROXY", integrationHttpMethod="POST", uri=uri
    )

    done = deployed.run("up", "--yes")

    assert done.returncode == 1
    assert second in done.stderr
    assert "delete those whose address nobody uses" in done.stderr
    client.delete_rest_api(restApiId=second)
    s3.put_object(Bucket=DEPOSIT, Key=f"deployed/{STAGE}.json", Body=kept)


def test_a_plan_changes_nothing(deployed: Account) -> None:
    deployed.write_stage(stage_text().replace("deletion_protection = false", "deletion_protection = true"))

    planned = deployed.run("plan")
    deployed.write_stage(stage_text())
    again = deployed.run("plan")

    assert planned.returncode == 0, planned.stderr
    assert "Modify Table" in planned.stdout
    assert "no stack changes" in again.stdout


def test_nobody_to_take_the_plan_stops_a_deploy(deployed: Account) -> None:
    done = deployed.run("up")

    assert done.returncode == 1
    assert "--yes takes it" in done.stderr


def test_a_deploy_waits_for_nobody_who_holds_the_lock_and_takes_over_an_old_one(deployed: Account) -> None:
    s3 = deployed.emulator.client("s3")
    lock = {"id": "x", "who": "someone@elsewhere", "since": int(time.time()), "until": int(time.time()) + 600}
    s3.put_object(Bucket=DEPOSIT, Key=LOCK, Body=json.dumps(lock).encode())

    held = deployed.run("plan")
    s3.put_object(Bucket=DEPOSIT, Key=LOCK, Body=json.dumps({**lock, "until": int(time.time()) - 1}).encode())
    expired = deployed.run("plan")

    assert held.returncode == 1
    assert "someone@elsewhere deploys since" in held.stderr
    assert expired.returncode == 0, expired.stderr
    assert "the lock of someone@elsewhere ended" in expired.stdout
    assert "Contents" not in s3.list_objects_v2(Bucket=DEPOSIT, Prefix="lock/")


def test_another_region_than_the_one_it_was_deployed_to_stops_a_deploy(deployed: Account) -> None:
    deployed.write_stage(stage_text().replace(REGION, "us-west-2"))

    done = deployed.run("plan")
    deployed.write_stage(stage_text())

    assert done.returncode == 1
    assert "prod belongs there; its file says us-west-2" in done.stderr
    assert "The plan" not in done.stdout
    assert not deployed.emulator.client("s3").list_objects_v2(Bucket=DEPOSIT, Prefix="lock/").get("Contents")


def test_another_account_stops_a_deploy_before_anything_is_made(deployed: Account) -> None:
    deployed.write_stage(stage_text().replace(ACCOUNT, "210987654321"))

    done = deployed.run("up", "--yes")
    deployed.write_stage(stage_text())

    assert done.returncode == 1
    assert f"these are for account {ACCOUNT}; prod belongs to 210987654321" in done.stdout
    assert "nothing was touched" in done.stderr


def test_a_domain_in_a_zone_that_does_not_exist_stops_a_deploy(deployed: Account) -> None:
    edge = 'domain = "panel.example.com"\nhosted_zone_id = "Z000000000000"\n\n[settings]'
    deployed.write_stage(stage_text().replace("enabled = false", "enabled = true").replace("[settings]", edge))

    done = deployed.run("preflight")
    deployed.write_stage(stage_text())

    assert done.returncode == 1
    assert "Route 53 does not give hosted zone Z000000000000" in done.stdout


def test_a_stage_that_does_not_exist_is_named_with_those_that_do(deployed: Account) -> None:
    done = deployed.run("up", "--yes", stage="staging")

    assert done.returncode == 1
    assert "there is no stage 'staging'" in done.stderr
    assert "(there: prod)" in done.stderr


def test_a_table_of_a_later_release_stops_a_deploy(deployed: Account) -> None:
    client = deployed.emulator.client("dynamodb")
    key = {"pk": {"S": "SCHEMA"}, "sk": {"S": "VERSION"}}
    kept = client.get_item(TableName=f"slipway-{STAGE}", Key=key)["Item"]
    client.put_item(TableName=f"slipway-{STAGE}", Item={**key, "version": {"N": "99"}})

    done = deployed.run("up", "--yes")
    client.put_item(TableName=f"slipway-{STAGE}", Item=kept)

    assert done.returncode == 1
    assert "the table is of version 99" in done.stderr


def test_a_later_deploy_that_is_cut_off_is_gone_on_with_by_the_next(deployed: Account) -> None:
    before = rest_apis(deployed)

    deployed.imports.cut(r"PUT /restapis/\w+\?")
    cut = deployed.run("up", "--yes")
    reached = deployed.imports.was_cut()
    deployed.imports.cut(None)
    gone_on = deployed.run("up", "--yes")

    assert (cut.returncode, reached) == (1, True)
    assert gone_on.returncode == 0, gone_on.stdout + gone_on.stderr
    assert rest_apis(deployed) == before
    assert ask(deployed, "/api/health").status_code == 200


# Where Chalice is refused, by what it then had made.
CUTS = {
    "functions": r"POST /restapis\?",
    "the imported REST API": r"(?!GET)\w+ /restapis/\w+",
    "the bare WebSocket API": r"(?!GET /v2/apis\?)\w+ /v2/apis/\w+/",
}


def test_a_first_deploy_may_be_cut_off_anywhere_and_the_next_makes_what_is_missing(tmp_path: Path) -> None:
    with account(tmp_path) as made:
        made.write_stage(stage_text())
        for had, at in CUTS.items():
            made.imports.cut(at)
            cut = made.run("up", "--yes")
            assert (cut.returncode, made.imports.was_cut()) == (1, True), f"{had}: {cut.stdout}{cut.stderr}"
        sockets = made.emulator.client("apigatewayv2")
        (bare,) = sockets.get_apis()["Items"]
        assert sockets.get_stages(ApiId=bare["ApiId"])["Items"] == []
        made.imports.cut(None)

        gone_on = made.run("up", "--yes")

        assert gone_on.returncode == 0, gone_on.stdout + gone_on.stderr
        (rest,) = rest_apis(made)
        rest_stages = made.emulator.client("apigateway").get_stages(restApiId=rest)["item"]
        assert [stage["stageName"] for stage in rest_stages] == [STAGE]
        (api,) = sockets.get_apis()["Items"]
        (stage,) = sockets.get_stages(ApiId=api["ApiId"])["Items"]
        deployments = {each["DeploymentId"] for each in sockets.get_deployments(ApiId=api["ApiId"])["Items"]}
        assert (stage["StageName"], stage["DeploymentId"] in deployments) == (STAGE, True)
        routes = {each["RouteKey"] for each in sockets.get_routes(ApiId=api["ApiId"])["Items"]}
        assert routes == {"$connect", "$default", "$disconnect"}
        assert ask(made, "/api/health").status_code == 200


def test_where_cloudfront_fails_all_that_needs_no_edge_is_there(deployed: Account) -> None:
    client = deployed.emulator.client("lambda")
    client.delete_function_event_invoke_config(FunctionName=f"slipway-{STAGE}-reaper")
    parameters = deployed.emulator.client("ssm")
    parameters.delete_parameter(Name=f"/slipway/{STAGE}/public-url")
    deployed.write_stage(stage_text().replace("enabled = false", "enabled = true"))

    failed = deployed.run("up", "--yes", AWS_ENDPOINT_URL_CLOUDFRONT="http://127.0.0.1:9", AWS_MAX_ATTEMPTS="1")
    deployed.write_stage(stage_text())

    assert failed.returncode == 1
    told = client.get_function_event_invoke_config(FunctionName=f"slipway-{STAGE}-reaper")
    assert told["DestinationConfig"]["OnFailure"]["Destination"].endswith(f":slipway-{STAGE}-dead-letters")
    kept = parameters.get_parameter(Name=f"/slipway/{STAGE}/public-url")["Parameter"]["Value"]
    assert kept.startswith("https://")


def test_with_an_edge_functions_are_told_its_name_and_the_log_page_is_put_there(deployed: Account) -> None:
    deployed.write_stage(stage_text().replace("enabled = false", "enabled = true"))

    done = deployed.run("up", "--yes")
    deployed.write_stage(stage_text())

    assert done.returncode == 0, done.stdout + done.stderr
    settings = function(deployed, "")["Configuration"]["Environment"]["Variables"]
    host = settings["SLIPWAY_PUBLIC_URL"].removeprefix("https://")
    assert ".cloudfront." in host
    assert settings["SLIPWAY_WEBSOCKET_URL"] == f"wss://{host}"
    kept_key = deployed.emulator.client("s3").get_object(Bucket=DEPOSIT, Key=f"edge/{STAGE}.key")
    key = kept_key["Body"].read().decode()
    assert settings["SLIPWAY_EDGE_KEY_SHA256"] == hash_of(key)
    assert shown_to_rest(deployed) == [{"HeaderName": "X-Slipway-Edge", "HeaderValue": key}]
    assert key not in done.stdout + done.stderr
    assert settings["SLIPWAY_WEBSOCKET_ENDPOINT"].startswith("https://")
    kept = deployed.emulator.client("s3").list_objects_v2(Bucket=f"slipway-{STAGE}-pages-{ACCOUNT}")["Contents"]
    assert "index.html" in {each["Key"] for each in kept}


def shown_to_rest(deployed: Account) -> Any:
    """The headers that the distribution sends to the REST API."""
    client = deployed.emulator.client("cloudfront")
    (distribution,) = client.list_distributions()["DistributionList"]["Items"]
    (rest,) = [each for each in distribution["Origins"]["Items"] if each["Id"] == "rest"]
    return rest["CustomHeaders"]["Items"]


def test_a_second_api_that_calls_our_functions_is_told_of_and_let_alone(deployed: Account) -> None:
    client = deployed.emulator.client("apigateway")
    (ours,) = [api["id"] for api in client.get_rest_apis()["items"] if api["name"] == "slipway"]
    other = client.create_rest_api(name="slipway")["id"]
    (root,) = client.get_resources(restApiId=other)["items"]
    client.put_method(restApiId=other, resourceId=root["id"], httpMethod="GET", authorizationType="NONE")
    function_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:slipway-{STAGE}"
    uri = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{function_arn}/invocations"
    client.put_integration(
        restApiId=other,
        resourceId=root["id"],
        httpMethod="GET",
        type="AWS_PROXY",
        integrationHttpMethod="POST",
        uri=uri,
    )

    done = deployed.run("up", "--yes")
    client.delete_rest_api(restApiId=other)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"rest_api {other} calls our functions too, and is left alone" in done.stdout
    assert deployed.deployed()["rest_api"]["rest_api_id"] == ours


def test_a_plan_of_a_stranger_does_not_choose_what_workflow_is_deployed(deployed: Account) -> None:
    """Who plans may put a definition where a deploy's lies: another version of it, that is not the deploy's."""
    s3 = deployed.emulator.client("s3")
    (key,) = [each["Key"] for each in s3.list_objects_v2(Bucket=DEPOSIT, Prefix="workflow/")["Contents"]]
    s3.put_object(Bucket=DEPOSIT, Key=key, Body=b'{"StartAt": "Theirs"}')

    done = deployed.run("up", "--yes")

    assert done.returncode == 0, done.stdout + done.stderr
    states = deployed.emulator.client("stepfunctions")
    arn = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:slipway-{STAGE}-deploy"
    assert "Theirs" not in states.describe_state_machine(stateMachineArn=arn)["definition"]
    assert s3.get_object(Bucket=DEPOSIT, Key=key)["Body"].read() != b'{"StartAt": "Theirs"}'


def test_a_plan_shows_what_the_edge_would_change_and_does_not_change_it(deployed: Account) -> None:
    edge = "enabled = true\nrequests_per_five_minutes = 4000"
    deployed.write_stage(stage_text().replace("enabled = false", edge))

    planned = deployed.run("plan")
    again = deployed.run("plan")
    deployed.write_stage(stage_text())

    assert planned.returncode == 0, planned.stdout + planned.stderr
    for plan in (planned, again):
        assert f"stack slipway-{STAGE}-edge-global, " in plan.stdout
        assert " Firewall (AWS::WAFv2::WebACL)" in plan.stdout
