"""What an AWS account would refuse of our templates and policies, found without one."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import app
from chalicelib.settings import Settings
from chalicelib.store.table import definition
from infra.deploy import release
from infra.deploy.stages import PROJECT, Edge

TEMPLATES = ["deployer", "deposit", "network", "resources", "edge", "edge-global"]
CONFIG: dict[str, Any] = json.loads((PROJECT / ".chalice/config.json").read_text())
PROD: dict[str, Any] = CONFIG["stages"]["prod"]
_NAMED = re.compile(r"\$\{([A-Za-z0-9]+)(?:\.[A-Za-z0-9.]+)?\}")


class _Short(yaml.SafeLoader):
    """CloudFormation's `!Ref x` as `{"Ref": x}`."""


def _long(loader: yaml.SafeLoader, tag: str, node: yaml.Node) -> Any:
    name = tag if tag in {"Ref", "Condition"} else f"Fn::{tag}"
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {name: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {name: loader.construct_mapping(node, deep=True)}


_Short.add_multi_constructor("!", _long)


def template(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.load((PROJECT / "infra" / f"{name}.yaml").read_text(), _Short)
    return read


def references(value: Any) -> set[str]:
    """The logical names that this part of a template speaks of."""
    if isinstance(value, list):
        return set().union(*map(references, value)) if value else set()
    if not isinstance(value, dict):
        return set()
    found: set[str] = set()
    for key, inner in value.items():
        if key == "Ref":
            found.add(inner)
        elif key == "Fn::GetAtt":
            found.add((inner if isinstance(inner, str) else inner[0]).split(".")[0])
        elif key == "Fn::Sub":
            found |= set(_NAMED.findall(inner if isinstance(inner, str) else inner[0]))
            found |= references(inner)
        elif key == "DependsOn":
            found |= {inner} if isinstance(inner, str) else set(inner)
        else:
            found |= references(inner)
    return found


def circle(resources: dict[str, Any]) -> list[str]:
    """The names along one circle of references; none if there is no circle."""
    needs = {name: references(resource) & resources.keys() for name, resource in resources.items()}
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        found = next((found for each in sorted(needs[name]) if (found := walk(each, [*way, name]))), [])
        done.add(name)
        return found

    return next((found for name in resources if (found := walk(name, []))), [])


@pytest.mark.parametrize("name", TEMPLATES)
def test_no_resource_needs_itself_by_way_of_others(name: str) -> None:
    assert circle(template(name)["Resources"]) == []


def test_a_circle_would_be_found() -> None:
    read = yaml.load(
        """
        Api: {Properties: {Environment: !Ref Machine}}
        Machine: {Properties: {Role: !GetAtt Role.Arn, Definition: !Sub "{${Step.Arn}}"}}
        Role: {Properties: {}}
        Step: {DependsOn: Api}
        """,
        _Short,
    )

    assert circle(read) == ["Api", "Machine", "Step", "Api"]


def test_no_template_takes_a_value_out_of_another_stack() -> None:
    for name in TEMPLATES:
        assert "ImportValue" not in json.dumps(template(name))


@pytest.mark.parametrize("name", ["resources", "deposit"])
def test_what_is_lost_for_ever_outlives_its_stack(name: str) -> None:
    lost = {"AWS::DynamoDB::Table", "AWS::KMS::Key", "AWS::S3::Bucket", "AWS::SecretsManager::Secret"}

    for resource in template(name)["Resources"].values():
        if resource["Type"] in lost:
            assert resource["DeletionPolicy"] in {"Retain", "RetainExceptOnCreate"}  # the latter: but one just made
            assert resource["UpdateReplacePolicy"] == "Retain"


@pytest.mark.parametrize("name", ["resources", "network"])
def test_a_first_deploy_that_is_taken_back_leaves_nothing_in_the_way_of_the_next(name: str) -> None:
    """What has a name of its own, or costs while it is there, would have to be deleted by hand."""
    kept = {
        logical: resource["DeletionPolicy"]
        for logical, resource in template(name)["Resources"].items()
        if resource.get("DeletionPolicy", "Delete") != "Delete"
    }

    assert kept
    # The table is protected against deletion, so CloudFormation could not take it back.
    assert {logical for logical, policy in kept.items() if policy != "RetainExceptOnCreate"} <= {"Table"}


def test_the_table_is_made_after_all_that_could_be_in_its_way() -> None:
    resources = template("resources")["Resources"]

    kept = {logical for logical, resource in resources.items() if "DeletionPolicy" in resource}
    before, last = {"Table"}, set[str]()
    while before != last:
        last = before
        before = last.union(*(references(resources[each]) & resources.keys() for each in last))
    assert {each for each in kept if resources[each]["DeletionPolicy"] == "RetainExceptOnCreate"} <= before


def test_the_declared_table_is_the_one_that_the_store_makes() -> None:
    declared = template("resources")["Resources"]["Table"]["Properties"]

    for key, value in definition("t").items():
        assert key == "TableName" or declared[key] == value
    assert declared["TimeToLiveSpecification"] == {"AttributeName": "expires", "Enabled": True}
    assert declared["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


def test_the_workflow_is_given_every_name_that_its_definition_leaves_open() -> None:
    open_names = set(re.findall(r"\$\{(\w+)\}", (PROJECT / "infra/deploy.asl.json").read_text()))

    given = template("resources")["Resources"]["Workflow"]["Properties"]["DefinitionSubstitutions"]
    assert open_names == given.keys()


def functions() -> set[str]:
    handlers: list[Any] = [*app.app.pure_lambda_functions, *app.app.event_sources]
    sockets = {"connect", "disconnect", "message"} if app.app.websocket_handlers else set()
    return {"api_handler", *(handler.name for handler in handlers), *(f"websocket_{name}" for name in sockets)}


def test_every_function_has_its_own_policy_memory_timeout_and_reserve() -> None:
    for name in functions():
        configured = PROD["lambda_functions"][name]
        assert configured.keys() >= {"lambda_timeout", "lambda_memory_size", "reserved_concurrency"}
        assert configured["iam_policy_file"] == f"policies/{name}.json"


def policies() -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in (PROJECT / ".chalice/policies").glob("*.json")}


def test_a_policy_names_what_it_is_about() -> None:
    for name, policy in policies().items():
        for statement in policy["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            assert not any("*" in action for action in actions), name
            if statement["Resource"] == "*":  # Lambda plugs a function into a network before there is one to name
                assert all(action.startswith("ec2:") for action in actions), name


def test_only_the_functions_that_speak_ssh_can_open_a_hosts_key() -> None:
    """`IfExists` opens nothing: what is sealed is bound to an owner, and does not open without naming one."""
    for name, policy in policies().items():
        for statement in policy["Statement"]:
            if statement["Action"] == "kms:Decrypt" and name not in release.SPEAK_SSH:
                owners = statement["Condition"]["StringLikeIfExists"]["kms:EncryptionContext:owner"]
                assert owners
                assert not any(re.match(r"host|\*", owner) for owner in owners), name


def test_only_the_functions_that_speak_ssh_stand_in_a_network() -> None:
    plugged = {name for name, policy in policies().items() if "ec2:CreateNetworkInterface" in json.dumps(policy)}

    assert plugged == set(release.SPEAK_SSH)


def test_the_firewall_lets_twenty_watched_hosts_behind_one_address_through() -> None:
    """Each agent sends a batch as often as its pace lets it; a rule that refuses them would cut live logs."""
    limit = template("edge-global")["Parameters"]["RequestsPerFiveMinutes"]["Default"]

    assert limit == Edge().requests_per_five_minutes
    assert limit >= 20 * 300 * 1000 / Settings.from_environment({}).agent_pace_ms


def test_the_edge_gives_every_answer_its_security_headers() -> None:
    distribution = template("edge")["Resources"]["Distribution"]["Properties"]["DistributionConfig"]
    behaviours = [each["Fn::If"][1] if "Fn::If" in each else each for each in distribution["CacheBehaviors"]]

    for each in [distribution["DefaultCacheBehavior"], *behaviours]:
        name = each["ResponseHeadersPolicyId"]["Ref"]
        assert template("edge")["Resources"][name]["Type"] == "AWS::CloudFront::ResponseHeadersPolicy"


def edge(request: dict[str, Any]) -> dict[str, Any]:
    """What the edge's function makes of a request, run by node with CloudFront's module stood in for."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here to run the edge's function")
    code: str = template("edge")["Resources"]["Sockets"]["Properties"]["FunctionCode"]["Fn::Sub"]
    code = code.replace("${Stage}", "prod").replace(
        "import cf from 'cloudfront';", "var origin = null; var cf = {selectRequestOriginById: (id) => {origin = id}};"
    )
    program = f"{code}\nconst made = handler({json.dumps({'request': request})});"
    program += "console.log(JSON.stringify({made, origin}));"
    done = subprocess.run([node, "-e", program], capture_output=True, text=True, check=True, timeout=30)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


UPGRADE = {"sec-websocket-key": {"value": "x"}}


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/api/services/svc_1/logs", {"service_id": {"value": "svc_1"}}),
        ("/api/jobs/job_1/logs", {"job_id": {"value": "job_1"}}),
        ("/api/agent/socket", {"agent": {"value": "1"}}),
    ],
)
def test_the_edge_tells_a_socket_what_it_is_for_and_nobody_else_can(path: str, said: dict[str, Any]) -> None:
    query = {
        "follow": {"value": "true"},
        "service_id": {"value": "svc_2"},
        "job_id": {"value": "j"},
        "agent": {"value": "1"},
    }

    told = edge({"uri": path, "headers": UPGRADE, "querystring": query})

    assert told["origin"] is None
    assert told["made"]["uri"] == "/prod"
    assert told["made"]["querystring"] == {"follow": {"value": "true"}, **said}


def test_the_edge_sends_a_plain_request_of_the_same_path_to_rest() -> None:
    asked = {"uri": "/api/services/svc_1/logs", "headers": {}, "querystring": {"tail": {"value": "5"}}}

    told = edge(asked)

    assert told == {"made": asked, "origin": "rest"}


def test_the_edge_refuses_an_upgrade_elsewhere() -> None:
    told = edge({"uri": "/api/services/a/b/logs", "headers": UPGRADE, "querystring": {}})

    assert told["made"]["statusCode"] == 403


def test_the_edges_function_is_as_small_as_cloudfront_takes() -> None:
    code = template("edge")["Resources"]["Sockets"]["Properties"]["FunctionCode"]["Fn::Sub"]

    assert len(code) < 10_000
    assert set(_NAMED.findall(code)) == {"Stage"}


def test_a_template_is_as_small_as_cloudformation_takes() -> None:
    for name in TEMPLATES:
        assert (PROJECT / "infra" / f"{name}.yaml").stat().st_size < 51_200
        assert Path(PROJECT / "infra" / f"{name}.yaml").read_text().isascii()
