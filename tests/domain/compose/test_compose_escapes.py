"""Ways out of the sandbox: every one of them must be refused, and by the rule that names it."""

import json

import pytest

from .conftest import SERVICE_ID, Planned, Refused

# What is added to an ordinary service, and the rule that must refuse it.
IN_A_SERVICE = {
    "privileged": ("privileged: true", "privileged"),
    "privileged as text": ("privileged: 'true'", "privileged"),
    "privileged as yes": ("privileged: yes", "privileged"),
    "privileged by default of a variable": ("privileged: ${P:-true}", "privileged"),
    "privileged by an alternative": ("privileged: ${YES:+true}", "privileged"),
    "privileged by a variable": ("privileged: $YES", "privileged"),
    "privileged by a nested default": ("privileged: ${P:-${Q:-on}}", "privileged"),
    "privileged split over variables": ("privileged: tr${U:-ue}", "privileged"),
    "host network": ("network_mode: host", "host-namespace"),
    "host network by a variable": ("network_mode: ${N:-host}", "host-namespace"),
    "the default bridge of all containers": ("network_mode: bridge", "host-namespace"),
    "another container's network": ("network_mode: 'container:slipway-edge'", "host-namespace"),
    "another service's network": ("network_mode: 'service:db'", "host-namespace"),
    "a network by its id": ("network_mode: 4f1c2a", "host-namespace"),
    "host processes": ("pid: host", "host-namespace"),
    "another container's processes": ("pid: 'container:x'", "host-namespace"),
    "host ipc": ("ipc: host", "host-namespace"),
    "another container's ipc": ("ipc: 'container:x'", "host-namespace"),
    "host uts": ("uts: host", "host-namespace"),
    "host users": ("userns_mode: host", "host-namespace"),
    "host cgroup": ("cgroup: host", "host-namespace"),
    "cgroup parent": ("cgroup_parent: /", "runtime"),
    "a device": ("devices: ['/dev/sda:/dev/sda']", "device"),
    "a device, long": ("devices: [{source: /dev/mem, target: /dev/mem}]", "device"),
    "device rules": ("device_cgroup_rules: ['b 8:* rmw']", "device"),
    "gpus": ("gpus: all", "gpus"),
    "reserved devices": ("deploy: {resources: {reservations: {devices: [{capabilities: [gpu]}]}}}", "gpus"),
    "SYS_ADMIN": ("cap_add: [SYS_ADMIN]", "capability"),
    "CAP_SYS_ADMIN": ("cap_add: [CAP_SYS_ADMIN]", "capability"),
    "sys_admin": ("cap_add: [sys_admin]", "capability"),
    "all capabilities": ("cap_add: [ALL]", "capability"),
    "NET_ADMIN": ("cap_add: [NET_ADMIN]", "capability"),
    "SYS_PTRACE by a variable": ("cap_add: ['${C:-SYS_PTRACE}']", "capability"),
    "SYS_MODULE": ("cap_add: [CHOWN, SYS_MODULE]", "capability"),
    "no seccomp": ("security_opt: ['seccomp:unconfined']", "security-opt"),
    "no seccomp, other spelling": ("security_opt: ['seccomp=unconfined']", "security-opt"),
    "no apparmor": ("security_opt: ['apparmor:unconfined']", "security-opt"),
    "no selinux": ("security_opt: ['label:disable']", "security-opt"),
    "unmasked paths": ("security_opt: ['systempaths=unconfined']", "security-opt"),
    "new privileges": ("security_opt: ['no-new-privileges:false']", "security-opt"),
    "a seccomp file of the host": ("security_opt: ['seccomp:/etc/passwd']", "security-opt"),
    "the docker socket": ("volumes: ['/var/run/docker.sock:/var/run/docker.sock']", "docker-socket"),
    "the docker socket, read only": ("volumes: ['/run/docker.sock:/s:ro']", "docker-socket"),
    "the docker socket, long": ("volumes: [{type: bind, source: /run/docker.sock, target: /s}]", "docker-socket"),
    "the docker socket by a variable": ("volumes: ['${S:-/var/run/docker.sock}:/s']", "docker-socket"),
    "the docker socket by a path around": ("volumes: ['/var/../var/run//docker.sock:/s']", "docker-socket"),
    "containerd's socket": ("volumes: ['/run/containerd/containerd.sock:/s']", "docker-socket"),
    "the api socket": ("use_api_socket: true", "docker-socket"),
    "the host's root": ("volumes: ['/:/host']", "host-bind"),
    "the host's etc": ("volumes: ['/etc:/etc:ro']", "host-bind"),
    "the host's proc": ("volumes: ['/proc:/host/proc:ro']", "host-bind"),
    "a path beside the file": ("volumes: ['./data:/data']", "host-bind"),
    "the folder itself": ("volumes: ['.:/app']", "host-bind"),
    "a path above": ("volumes: ['../../etc:/x']", "host-bind"),
    "a path under a folder": ("volumes: ['data/sub:/data']", "host-bind"),
    "the home": ("volumes: ['~/.ssh:/x']", "host-bind"),
    "the home alone": ("volumes: ['~:/x']", "host-bind"),
    "a user's home": ("volumes: ['~root/x:/x']", "host-bind"),
    "a bind, long": ("volumes: [{type: bind, source: /etc, target: /x}]", "host-bind"),
    "a bind without a source": ("volumes: [{type: bind, target: /x}]", "host-bind"),
    "a bind that makes its folder": (
        "volumes: [{type: bind, source: data, target: /x, bind: {create_host_path: true}}]", "host-bind",
    ),
    "a path as a volume's name": ("volumes: [{type: volume, source: /etc, target: /x}]", "host-bind"),
    "bind options on a volume": (
        "volumes: [{type: volume, source: data, target: /x, bind: {propagation: rshared}}]", "host-bind",
    ),
    "a bind by a variable": ("volumes: ['${DIR:-/etc}:/x']", "host-bind"),
    "a bind type by a variable": ("volumes: [{type: '${T:-bind}', source: data, target: /x}]", "host-bind"),
    "a windows path": ("volumes: ['C:\\Users:/x']", "mount"),
    "a windows pipe": ("volumes: [{type: npipe, source: x, target: /x}]", "mount"),
    "an image as a mount": ("volumes: [{type: image, source: x, target: /x}]", "mount"),
    "a cluster volume": ("volumes: [{type: cluster, source: x, target: /x}]", "mount"),
    "mount propagation": ("volumes: ['data:/x:rshared']", "mount"),
    "a mount over proc": ("volumes: ['data:/proc']", "mount"),
    "a mount over sys by a path around": ("volumes: ['data:/x/../sys/kernel']", "mount"),
    "a mount over everything": ("volumes: ['data:/']", "mount"),
    "a part of a volume": ("volumes: [{type: volume, source: data, target: /x, volume: {subpath: ../..}}]", "mount"),
    "tmpfs over proc": ("tmpfs: /proc", "mount"),
    "tmpfs with an option": ("tmpfs: ['/x:uid=0,context=y']", "mount"),
    "a one-letter volume": ("volumes: ['v:/data']", "volume-name"),
    "an undeclared volume": ("volumes: ['other:/data']", "undefined"),
    "another container's volumes": ("volumes_from: ['container:x']", "volumes-from"),
    "another service's volumes": ("volumes_from: [db]", "volumes-from"),
    "sysctls": ("sysctls: {kernel.msgmax: 1}", "sysctl"),
    "sysctls as a list": ("sysctls: ['net.ipv4.ip_forward=1']", "sysctl"),
    "another runtime": ("runtime: runc-unsafe", "runtime"),
    "isolation": ("isolation: hyperv", "runtime"),
    "storage options": ("storage_opt: {size: 1T}", "runtime"),
    "annotations": ("annotations: {run.oci.keep_original_groups: '1'}", "runtime"),
    "block io": ("blkio_config: {weight: 1000}", "runtime"),
    "a build": ("build: .", "build"),
    "a build from an address": ("build: {context: 'https://example.com/x.git'}", "build"),
    "a build with ssh": ("build: {context: ., ssh: [default]}", "build"),
    "another file's service": ("extends: {file: /etc/passwd, service: x}", "extends"),
    "this file's service": ("extends: db", "extends"),
    "an env file": ("env_file: /etc/shadow", "host-file"),
    "an env file, list": ("env_file: [.env]", "host-file"),
    "an env file, long": ("env_file: [{path: /proc/self/environ, required: false}]", "host-file"),
    "a label file": ("label_file: /etc/passwd", "host-file"),
    "a credential spec": ("credential_spec: {file: x}", "host-file"),
    "a hook": ("post_start: [{command: id, privileged: true}]", "hook"),
    "a hook before stop": ("pre_stop: [{command: id, user: root}]", "hook"),
    "a provider": ("provider: {type: /bin/sh}", "provider"),
    "models": ("models: [x]", "provider"),
    "links out of the project": ("external_links: [x]", "external"),
    "the host's address": ("extra_hosts: ['host.docker.internal:host-gateway']", "host-gateway"),
    "the host's address, mapping": ("extra_hosts: {h: host-gateway}", "host-gateway"),
    "syslog": ("logging: {driver: syslog, options: {syslog-address: 'tcp://10.0.0.1'}}", "logging"),
    "no logs": ("logging: {driver: none}", "logging"),
    "logs without end": ("logging: {options: {max-size: '-1'}}", "resource-limit"),
    "log options": ("logging: {driver: json-file, options: {env: SECRET}}", "logging"),
    "a mac address": ("mac_address: '02:42:ac:11:00:02'", "network-driver"),
    "no memory limit": ("mem_limit: 0", "resource-limit"),
    "unlimited memory": ("mem_limit: -1", "resource-limit"),
    "memory in a form Compose forgets": ("mem_limit: 1e6", "wrong-type"),
    "no cpu limit": ("deploy: {resources: {limits: {cpus: '0'}}}", "resource-limit"),
    "no process limit": ("pids_limit: -1", "resource-limit"),
    "no process limit, long": ("deploy: {resources: {limits: {pids: 0}}}", "resource-limit"),
    "two different limits": ("mem_limit: 64m\n    deploy: {resources: {limits: {memory: 65m}}}", "resource-limit"),
    "cpu by quota": ("cpu_quota: 10000000", "resource-limit"),
    "real-time cpu": ("cpu_rt_runtime: 1s", "resource-limit"),
    "chosen cpus": ("cpuset: 0-1", "resource-limit"),
    "cpu shares over others": ("cpu_shares: 100000", "resource-limit"),
    "no oom killer": ("oom_kill_disable: true", "resource-limit"),
    "protection from the oom killer": ("oom_score_adj: -1000", "resource-limit"),
    "priorities": ("ulimits: {nice: 40}", "resource-limit"),
    "too many open files": ("ulimits: {nofile: 1000000000}", "resource-limit"),
    "a stop that takes an hour": ("stop_grace_period: 1h", "resource-limit"),
    "a probe each millisecond": ("healthcheck: {test: x, interval: 1ms}", "resource-limit"),
    "a hundred replicas": ("deploy: {replicas: 100}", "replicas"),
    "a hundred replicas by scale": ("scale: ${N:-100}", "replicas"),
    "one everywhere": ("deploy: {mode: global}", "replicas"),
    "our labels": ("labels: {slipway.service: svc_0000000000000000}", "reserved-label"),
    "our labels as a list": ("labels: ['Slipway.Release=1']", "reserved-label"),
    "compose's labels": ("labels: {com.docker.compose.project: other}", "reserved-label"),
    "another service's address": ("networks: {default: {aliases: [svc_0000000000000000]}}", "reserved-name"),
    "another service's address in capitals": (
        "networks: {default: {aliases: [SVC_0000000000000000]}}", "reserved-name",
    ),
    "another service's address as host name": ("hostname: svc_0000000000000000", "reserved-name"),
    "another service's address as container": ("container_name: svc_0000000000000000", "reserved-name"),
    "another service's address by a variable": ("hostname: svc_${X:-0000000000000000}", "reserved-name"),
    "another service's address before a dot": ("hostname: svc_0000000000000000.example.com", "reserved-name"),
    "a public name": ("networks: {default: {aliases: [acme.example.com]}}", "reserved-name"),
    "a network outside": ("networks: [other]", "undefined"),
    "network driver options": ("networks: {default: {driver_opts: {x: y}}}", "network-driver"),
    "not an image": ("image: '-v /:/host app'", "image"),
    "an image with a space": ("image: 'app --privileged'", "image"),
    "an image by its path": ("image: ../app", "image"),
    "a key from the future": ("escape_hatch: true", "unknown-key"),
    "a key in healthcheck": ("healthcheck: {test: x, user: root}", "unknown-key"),
    "a key in a port": ("ports: [{target: 80, device: x}]", "unknown-key"),
    "a key in deploy": ("deploy: {privileged: true}", "unknown-key"),
    "a port range without end": ("ports: ['1-65535:1-65535']", "port"),
    "a port out of range": ("ports: ['70000:80']", "port"),
    "a protocol": ("ports: ['80:80/sctp']", "port"),
}  # fmt: skip

# Whole files, for what is written outside a service.
WHOLE = {
    "an include": ("include: [/etc/passwd]\nservices: {web: {image: app}}", "include"),
    "an include from an address": ("include: ['oci://example.com/x']\nservices: {web: {image: app}}", "include"),
    "models": ("models: {m: {model: x}}\nservices: {web: {image: app}}", "provider"),
    "an external network": ("services: {web: {image: app}}\nnetworks: {default: {external: true}}", "external"),
    "an external network, old": ("services: {web: {image: app}}\nnetworks: {n: {external: {name: x}}}", "external"),
    "an external network by a variable": ("services: {web: {image: app}}\nnetworks: {n: {external: $E}}", "external"),
    "a host network as a driver": ("services: {web: {image: app}}\nnetworks: {n: {driver: host}}", "network-driver"),
    "macvlan": ("services: {web: {image: app}}\nnetworks: {n: {driver: macvlan}}", "network-driver"),
    "bridge options": (
        "services: {web: {image: app}}\nnetworks: {n: {driver_opts: {com.docker.network.bridge.name: docker0}}}",
        "network-driver",
    ),
    "an external volume": ("services: {web: {image: app}}\nvolumes: {vol: {external: true}}", "external"),
    "a bind by driver options": (
        "services: {web: {image: app}}\nvolumes: {vol: {driver: local, driver_opts: {type: none, o: bind, device: /}}}",
        "volume-driver",
    ),
    "nfs by driver options": (
        "services: {web: {image: app}}\nvolumes: {vol: {driver_opts: {type: nfs, o: addr=10.0.0.1, device: ':/'}}}",
        "volume-driver",
    ),
    "a volume plugin": ("services: {web: {image: app}}\nvolumes: {vol: {driver: sshfs}}", "volume-driver"),
    "a one-letter volume with options": (
        "services: {web: {image: app, volumes: ['v:/x']}}\nvolumes: {v: {driver_opts: {device: /}}}", "volume-driver",
    ),
    "a secret from a file": ("services: {web: {image: app}}\nsecrets: {s: {file: /etc/shadow}}", "host-file"),
    "a config from a file": ("services: {web: {image: app}}\nconfigs: {c: {file: ~/.ssh/id_ed25519}}", "host-file"),
    "an external secret": ("services: {web: {image: app}}\nsecrets: {s: {external: true}}", "external"),
    "a config by a driver": ("services: {web: {image: app}}\nconfigs: {c: {template_driver: golang}}", "provider"),
    "hidden by a merge": (
        "x-p: &p {privileged: true}\nservices: {web: {image: app, <<: *p}}", "privileged",
    ),
    "hidden by an alias": (
        "x-v: &v ['/:/host']\nservices: {web: {image: app, volumes: *v}}", "host-bind",
    ),
    "hidden by a profile": (
        "services: {web: {image: app}, hidden: {image: app, profiles: [x], privileged: true}}", "privileged",
    ),
    "a service named as another's address": ("services: {svc_0000000000000000: {image: app}}", "reserved-name"),
    "a service named as a public name": ("services: {acme.example.com: {image: app}}", "service-name"),
    "a service with a path in its name": ("services: {'../../x': {image: app}}", "service-name"),
    "our network's key": ("services: {web: {image: app}}\nnetworks: {slipway-edge: {}}", "reserved-name"),
    "our secrets' key": (
        "services: {web: {image: app}}\nconfigs: {slipway-secret-pw: {content: x}}", "reserved-name",
    ),
    "a top-level key from the future": ("services: {web: {image: app}}\nescape: {}", "unknown-key"),
    "a link alias as another's address": (
        "services: {web: {image: app, links: ['db:svc_0000000000000000']}, db: {image: app}}", "reserved-name",
    ),
    "a link alias as a public name": (
        "services: {web: {image: app, links: ['db:acme.example.com']}, db: {image: app}}", "reserved-name",
    ),
    "services without end": (json.dumps({"services": {f"s{n}": {"image": "app"} for n in range(60)}}), "too-many"),
}  # fmt: skip


@pytest.mark.parametrize("escape", IN_A_SERVICE)
def test_a_way_out_of_a_service_is_refused(refused: Refused, escape: str) -> None:
    keys, rule = IN_A_SERVICE[escape]
    image = "" if keys.startswith("image:") else "    image: app\n"
    text = f"services:\n  web:\n{image}    {keys}\n  db: {{image: db}}\nvolumes: {{data: }}\n"

    details = refused(text, {"YES": "true"})

    assert rule in {detail["rule"] for detail in details}
    assert any(detail["path"].startswith("services.web") for detail in details)


@pytest.mark.parametrize("escape", WHOLE)
def test_a_way_out_of_a_file_is_refused(refused: Refused, escape: str) -> None:
    text, rule = WHOLE[escape]

    assert rule in {detail["rule"] for detail in refused(text, {"E": "true"})}


@pytest.mark.parametrize("escape", IN_A_SERVICE)
def test_leave_to_publish_ports_opens_nothing_else(refused: Refused, escape: str) -> None:
    keys, rule = IN_A_SERVICE[escape]
    image = "" if keys.startswith("image:") else "    image: app\n"
    text = f"services:\n  web:\n{image}    {keys}\n  db: {{image: db}}\nvolumes: {{data: }}\n"

    assert rule in {detail["rule"] for detail in refused(text, {"YES": "true"}, publish_ports=True)}


@pytest.mark.parametrize("key", ["pid", "uts", "userns_mode"])
@pytest.mark.parametrize("value", ["host", "1", "[a]"])
def test_what_must_go_is_not_said_to_be_written(refused: Refused, key: str, value: str) -> None:
    (found,) = refused(f"services: {{app: {{image: x, {key}: {value}}}}}")

    assert (found["rule"], found["message"]) == ("host-namespace", "remove it; a container stays in its own namespace")


def test_every_finding_is_told_at_once(refused: Refused) -> None:
    text = """
services:
  web: {image: app, privileged: true, pid: host, volumes: ['/:/x', ./y:/y], cap_add: [SYS_ADMIN], build: .}
  db: {image: '!', network_mode: host}
volumes: {data: {external: true}}
"""

    details = refused(text, {"DOCKER_HOST": "x"})

    assert {detail["rule"] for detail in details} == {
        "privileged", "host-namespace", "host-bind", "capability", "build", "image", "external", "reserved-variable",
    }  # fmt: skip
    assert all(detail["message"] and detail["rule"] for detail in details)


def test_no_message_quotes_a_value_that_may_be_a_secret(refused: Refused) -> None:
    keys = ("image", "ports: [%]", "user", "hostname", "cap_add: [%]", "restart", "mem_limit", "stop_signal", "pid")
    lines = "".join(f"    {key.replace('%', '$S') if '%' in key else key + ': $S'}\n" for key in keys)

    details = refused(f"services:\n  web:\n{lines}", {"S": "hunter2 is a secret"})

    assert len(details) >= len(keys)
    assert "hunter2" not in json.dumps(details)


def test_a_container_name_cannot_take_another_customers(planned: Planned) -> None:
    plan = planned("services: {web: {image: app, container_name: wordpress}}\nvolumes: {data: {name: shared}}")

    assert "container_name" not in plan.document["services"]["web"]
    assert plan.document["services"]["web"]["networks"] == {"default": {"aliases": ["wordpress"]}}
    assert [found.rule for found in plan.warnings] == ["name-dropped", "name-dropped"]
    assert plan.document["name"] == SERVICE_ID
