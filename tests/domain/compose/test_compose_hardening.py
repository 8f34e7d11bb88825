"""What a plan adds, changes and answers beside the document."""

import contextlib
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chalicelib.domain.compose import RULES, Defaults, Finding, Network, PublishedPort, Routed, plan
from chalicelib.domain.errors import ValidationFailed

from .conftest import SERVICE_ID, Planned, Refused


def test_a_service_gets_limits_rotation_and_a_restart_where_its_author_gave_none(planned: Planned) -> None:
    web = planned("services: {web: {image: app}}").document["services"]["web"]

    assert web["deploy"] == {"resources": {"limits": {"cpus": 0.5, "memory": str(256 * 2**20), "pids": 128}}}
    assert web["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "3"}}
    assert web["restart"] == "unless-stopped"
    assert web["labels"] == {"slipway.service": SERVICE_ID, "slipway.release": "3"}


def test_what_the_author_gave_is_kept_and_counted_by_replicas(planned: Planned) -> None:
    plan = planned("services: {a: {image: a, cpus: 0.25, mem_limit: 100m, scale: 3}, b: {image: b}}")

    limits = plan.document["services"]["a"]["deploy"]["resources"]["limits"]
    assert limits == {"cpus": 0.25, "memory": str(100 * 2**20), "pids": 128}
    assert plan.document["services"]["a"]["deploy"]["replicas"] == 3
    assert (plan.cpu_millis, plan.memory_mb) == (3 * 250 + 500, 3 * 100 + 256)


def test_what_others_wait_to_see_finished_is_not_started_again(planned: Planned) -> None:
    services = planned(
        "services: {job: {image: a}, web: {image: b, depends_on: {job: {condition: service_completed_successfully}}}}"
    ).document["services"]

    assert services["job"]["restart"] == "no"
    assert services["web"]["restart"] == "unless-stopped"


def test_a_service_stopped_in_the_panel_does_not_come_back_with_its_host(planned: Planned) -> None:
    services = planned(
        "services: {a: {image: a, restart: always}, b: {image: b, deploy: {restart_policy: {condition: any}}},"
        " c: {image: c, deploy: {restart_policy: {condition: on-failure, max_attempts: 2}}},"
        " d: {image: d, restart: no}}"
    ).document["services"]

    assert [services[name]["restart"] for name in "abcd"] == ["unless-stopped", "unless-stopped", "on-failure:2", "no"]


def test_without_leave_the_first_http_port_is_routed_and_the_others_are_only_exposed(planned: Planned) -> None:
    plan = planned(
        "services: {db: {image: db, ports: ['5432:5432']}, web: {image: w, ports: ['25:25', '8080:80', 443]}}"
    )

    assert plan.routed == Routed("web", 80)
    assert plan.published == ()
    assert plan.document["services"]["web"]["expose"] == ["25", "80", "443"]
    assert [(found.path, found.rule) for found in plan.warnings] == [
        ("services.db.ports[0]", "port-not-published"),
        ("services.web.ports[0]", "port-not-published"),
        ("services.web.ports[1]", "port-not-published"),
        ("services.web.ports[2]", "port-not-published"),
    ]


def test_with_leave_fixed_ports_are_published_as_written(planned: Planned) -> None:
    plan = planned(
        "services: {web: {image: w, ports: ['127.0.0.1:8080:80', '53:53/udp', 81, '90-91:90-91']}}", publish_ports=True
    )

    assert plan.published == (
        PublishedPort("127.0.0.1", 8080, "tcp"), PublishedPort("", 53, "udp"),
        PublishedPort("", 90, "tcp"), PublishedPort("", 91, "tcp"),
    )  # fmt: skip
    assert plan.document["services"]["web"]["ports"][0] == {
        "mode": "ingress", "host_ip": "127.0.0.1", "target": 80, "published": "8080", "protocol": "tcp",
    }  # fmt: skip
    assert plan.document["services"]["web"]["expose"] == ["81"]
    assert [found.path for found in plan.warnings] == ["services.web.ports[2]"]


@pytest.mark.parametrize(
    ("ports", "rule"),
    [
        ("services: {a: {image: a, ports: ['80:80']}, b: {image: b, ports: ['0.0.0.0:80:81']}}", "port"),
        ("services: {a: {image: a, ports: ['80:80'], scale: 2}}", "replicas"),
        ("services: {a: {image: a, ports: ['80-82:80-81']}}", "port"),
    ],
)
def test_ports_that_cannot_be_published_together_are_refused(refused: Refused, ports: str, rule: str) -> None:
    assert [detail["rule"] for detail in refused(ports, publish_ports=True)] == [rule]


def test_one_port_on_two_addresses_is_no_clash(planned: Planned) -> None:
    plan = planned(
        "services: {a: {image: a, ports: ['127.0.0.1:80:80', '10.0.0.1:80:80', '80:80/udp']}}", publish_ports=True
    )

    assert len(plan.published) == 3


@pytest.mark.parametrize(
    ("text", "routed"),
    [
        ("services: {a: {image: a, expose: [5432, 8080]}}", Routed("a", 8080)),
        ("services: {a: {image: a, expose: [8080]}, b: {image: b, ports: [90]}}", Routed("b", 90)),
        ("services: {a: {image: a, expose: ['53/udp']}, b: {image: b, ports: ['3306:3306']}}", None),
        ("services: {a: {image: a}}", None),
        ("services: {a: {image: a, network_mode: none, ports: [80]}}", None),
    ],
)
def test_what_is_routed_is_found_in_the_file(planned: Planned, text: str, routed: Routed | None) -> None:
    assert planned(text).routed == routed


def test_what_is_asked_to_be_routed_wins(planned: Planned, refused: Refused) -> None:
    text = "services: {a: {image: a, ports: [80]}, b: {image: b, expose: [9000]}}"

    assert planned(text, expose=("b", 1234)).routed == Routed("b", 1234)
    assert planned(text, expose=(None, 9000)).routed == Routed("b", 9000)
    assert planned(text, expose=(None, 81)).routed == Routed("a", 81)
    assert refused(text, expose=("c", 80))[0]["rule"] == "expose"


def test_the_default_network_is_the_services_own_and_the_edges(planned: Planned) -> None:
    plan = planned("services: {web: {image: w, ports: [80]}, db: {image: db}}")

    assert plan.networks == (Network(SERVICE_ID, edge=True),)
    assert plan.document["networks"] == {"default": {"name": SERVICE_ID, "external": True}}
    assert plan.document["services"]["web"]["networks"] == {"default": {"aliases": [SERVICE_ID]}}
    assert plan.document["services"]["db"]["networks"] == {"default": None}


def test_own_networks_get_an_edge_network_beside_them(planned: Planned) -> None:
    plan = planned(
        "services: {web: {image: w, ports: [80], networks: [front]}, db: {image: db, networks: [front, back]}}\n"
        "networks: {front: , back: {internal: true}, unused: }"
    )

    assert plan.networks == (
        Network(f"{SERVICE_ID}-front", edge=False),
        Network(f"{SERVICE_ID}-slipway-edge", edge=True),
        Network(f"{SERVICE_ID}-back", edge=False, internal=True),
    )
    assert plan.document["services"]["web"]["networks"] == {"front": None, "slipway-edge": {"aliases": [SERVICE_ID]}}


def test_what_is_not_routed_joins_no_edge(planned: Planned) -> None:
    assert planned("services: {db: {image: db}}").networks == (Network(SERVICE_ID, edge=False),)


def test_a_link_and_a_container_name_stay_names_inside_the_project(planned: Planned) -> None:
    services = planned(
        "services: {web: {image: w, links: ['db:database']}, db: {image: db, container_name: main-db}}"
    ).document["services"]

    assert services["db"]["networks"] == {"default": {"aliases": ["database", "main-db"]}}
    assert services["web"]["depends_on"] == {"db": {"condition": "service_started", "required": True}}


def test_a_service_with_profiles_is_left_out_and_said(planned: Planned, refused: Refused) -> None:
    plan = planned("services: {web: {image: w}, debug: {image: d, profiles: [x]}}")

    assert plan.images == ("w",)
    assert [found.rule for found in plan.warnings] == ["profile-left-out"]
    needed = refused("services: {web: {image: w, depends_on: [debug]}, debug: {image: d, profiles: [x]}}")
    assert [detail["rule"] for detail in needed] == ["depends-on"]


def test_secrets_become_files_under_run_secrets(planned: Planned, refused: Refused) -> None:
    text = "services: {web: {image: w, secrets: [pw]}}\nsecrets: {pw: {environment: PW}}"

    document = planned(text, {"PW": "a$b"}).document

    assert document["services"]["web"]["configs"] == [{"source": "slipway-secret-pw", "target": "/run/secrets/pw"}]
    assert document["configs"] == {"slipway-secret-pw": {"content": "a$$b"}}
    assert [detail["rule"] for detail in refused(text)] == ["missing-variable"]
    read_only = text.replace("image: w", "image: w, read_only: true")
    assert [detail["rule"] for detail in refused(read_only, {"PW": "x"})] == ["read-only-config"]


def test_a_host_name_with_dots_answers_to_its_first_label_alone(planned: Planned) -> None:
    web = planned("services: {web: {image: w, hostname: mail.example.com}}").document["services"]["web"]

    assert (web["hostname"], web["domainname"]) == ("mail", "example.com")


def test_a_port_to_route_to_is_a_port(refused: Refused) -> None:
    assert [detail["path"] for detail in refused("services: {a: {image: a}}", expose=("a", 0))] == ["expose.port"]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps({"services": {f"s{n}": {"image": "a", "ports": ["1000-1099:1000-1099"] * 2} for n in range(50)}}),
        json.dumps({"services": {f"s{n}": {"image": "a", "ports": ["1000-1099:1000-1099"] * 150} for n in range(50)}}),
        json.dumps({"services": {f"s{n}": {"image": "a", "volumes": ["/a"] * 300} for n in range(50)}}),
        json.dumps({"services": {"a": {"image": "a-" * 200, "ports": ["1" * 100_000], "command": "(" * 100_000}}}),
        json.dumps({"services": {"a": {"image": "a", "environment": {"A": "${A:-" * 40_000}}}}),
        json.dumps(
            {"services": {"a": {"image": "a", "environment": {"A": "${A:-}" * 20_000 + "x" * 100_000 + "$1" * 9}}}}
        ),
        json.dumps({"services": {"a": {"image": "a", "environment": {"A": "${A:-{" * 20_000 + "}" * 99_000}}}}),
    ],
)
def test_no_file_of_the_largest_size_takes_long(text: str) -> None:
    began = time.process_time()
    with contextlib.suppress(ValidationFailed):
        plan(text, {}, service_id=SERVICE_ID, release=1, publish_ports=True, defaults=Defaults(500, 256, 128))

    assert time.process_time() - began < 3


def test_services_that_wait_for_each_other_are_refused(refused: Refused) -> None:
    details = refused("services: {a: {image: a, depends_on: [b]}, b: {image: b, depends_on: [a]}, c: {image: c}}")

    assert [(detail["path"], detail["rule"]) for detail in details] == [
        ("services.a.depends_on", "depends-on"),
        ("services.b.depends_on", "depends-on"),
    ]


def test_volumes_are_declared_alike_in_every_release(planned: Planned) -> None:
    text = "services: {web: {image: w, volumes: ['data:/data']}}\nvolumes: {data: {labels: {a: b}}, unused: }"

    declared = [planned(text, release=release).document["volumes"] for release in (1, 2)]

    assert declared == [{"data": {"labels": {"slipway.service": SERVICE_ID}}}] * 2


def test_images_are_listed_once(planned: Planned) -> None:
    assert planned("services: {a: {image: 'app:1'}, b: {image: db}, c: {image: 'app:1'}}").images == ("app:1", "db")


EQUIVALENT = [
    ("environment: {A: b, C: '1'}", "environment: ['A=b', 'C=1']"),
    ("environment: {A: b, C: 1}", "environment: {<<: {A: b}, C: 1}"),
    ("labels: {a: b}", "labels: [a=b]"),
    ("volumes: ['data:/x:ro']", "volumes: [{type: volume, source: data, target: /x, read_only: true}]"),
    ("volumes: ['data:/x/../y/']", "volumes: ['data:/y']"),
    ("volumes: ['/x']", "volumes: [{type: volume, target: /x}]"),
    ("ports: ['8080:80']", "ports: [{target: 80, published: 8080}]"),
    ("ports: ['8080:80/tcp']", "ports: [{target: '80', published: '8080', protocol: tcp, mode: host}]"),
    ("ports: ['90-91:80-81']", "ports: ['90:80', '91:81']"),
    ("depends_on: [db]", "depends_on: {db: {condition: service_started}}"),
    ("networks: [default]", "networks: {default: {}}"),
    ("networks: {default: }", "init: ${NONE:-false}\n    networks: [default]"),
    ("mem_limit: 64m", "deploy: {resources: {limits: {memory: 67108864}}}"),
    ("cpus: 0.5", "deploy: {resources: {limits: {cpus: '.50'}}}"),
    ("pids_limit: 10", "deploy: {resources: {limits: {pids: '10'}}}"),
    ("scale: 2", "deploy: {replicas: 2}"),
    ("tmpfs: /run", "tmpfs: [/run]"),
    ("healthcheck: {test: curl x}", "healthcheck: {test: [CMD-SHELL, curl x]}"),
    ("healthcheck: {test: x, interval: 90s}", "healthcheck: {test: x, interval: 1m30s}"),
    ("extra_hosts: ['a:1.2.3.4']", "extra_hosts: {a: 1.2.3.4}"),
    ("read_only: yes", "read_only: 'true'"),
    ("restart: always", "restart: ${R:-unless-stopped}"),
    ("cap_add: [chown]", "cap_add: [CAP_CHOWN, CHOWN]"),
    ("ulimits: {nofile: 100}", "ulimits: {nofile: '100'}"),
    ("dns: 1.1.1.1", "dns: [1.1.1.1]"),
]


@pytest.mark.parametrize(("one", "other"), EQUIVALENT)
@pytest.mark.parametrize("publish_ports", [False, True])
def test_two_ways_of_writing_one_thing_make_one_document(
    planned: Planned, one: str, other: str, publish_ports: bool
) -> None:
    texts = [
        f"services:\n  web:\n    image: app\n    {keys}\n  db: {{image: db}}\nvolumes: {{data: }}\n"
        for keys in (one, other)
    ]

    documents = [planned(text, publish_ports=publish_ports).document for text in texts]

    for document in documents:
        document["services"]["web"].pop("init", None)
    assert documents[0] == documents[1]


def test_every_rule_says_what_it_refuses_in_one_line() -> None:
    assert all(line.endswith(".") and "\n" not in line for line in RULES.values())


KEYS = st.sampled_from([
    "services", "networks", "volumes", "configs", "secrets", "image", "ports", "environment", "deploy", "resources",
    "limits", "memory", "cpus", "command", "healthcheck", "test", "logging", "options", "web", "db", "default", "a",
    "driver", "external", "content", "target", "published", "type", "source", "depends_on", "condition", "expose",
    "tmpfs", "ulimits", "nofile", "soft", "aliases", "labels", "extra_hosts", "links", "profiles", "x-y",
    "", "$A", "\x00", "é",
])  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["80:80", "$A", "${A:-b}", "${", "data:/x", "app"]),
    st.sampled_from([ "1g", "5s", "yes", "web", "db:x", "0-0", ":", "[::1]:1:1", "-1"]),
)  # fmt: skip
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5), max_leaves=30
)
KEYS_OF_A_SERVICE = st.sampled_from(sorted([
    "image", "ports", "environment", "deploy", "command", "healthcheck", "logging", "volumes", "networks", "depends_on",
    "expose", "tmpfs", "ulimits", "labels", "extra_hosts", "links", "profiles", "configs", "secrets", "cap_add", "dns",
    "restart", "container_name", "hostname", "mem_limit", "cpus", "scale", "stop_grace_period", "network_mode", "user",
]))  # fmt: skip
SERVICES = st.dictionaries(
    st.sampled_from(["web", "db", "a.b"]), st.dictionaries(KEYS_OF_A_SERVICE, TREES, max_size=6), max_size=2
)
FILES = st.one_of(
    TREES.map(json.dumps),
    st.builds(
        lambda services, rest: json.dumps({"services": services} | rest),
        SERVICES,
        st.dictionaries(KEYS, TREES, max_size=2),
    ),
    st.text(max_size=200),
    st.text(st.sampled_from("[]{}:,&*!-'\"\n #a<?|>%@"), max_size=80),
)


@given(text=FILES, value=st.text(max_size=10), publish_ports=st.booleans())
@settings(max_examples=150, deadline=None, database=None)
def test_no_text_makes_the_policy_stumble(text: str, value: str, publish_ports: bool) -> None:
    defaults = Defaults(500, 256, 128)
    try:
        found = plan(
            text, {"A": value}, service_id=SERVICE_ID, release=1, publish_ports=publish_ports, defaults=defaults
        )
        document, findings = found.document, list(found.warnings)
    except ValidationFailed as refusal:
        document, findings = {}, [Finding(**detail) for detail in refusal.details]

    assert json.loads(json.dumps(document)) == document
    assert document or findings
    assert all(finding.rule in RULES and finding.message for finding in findings)
