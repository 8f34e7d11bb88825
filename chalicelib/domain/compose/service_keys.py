"""The allow-list of a service: each key that may be written, with its reader, and the known dangers by name.

The table is the policy. A key missing from both halves is refused as `unknown-key`, so what Compose learns
next stays out until somebody judged it.
"""

import re
from typing import Any

from chalicelib.domain.compose import mounts, ports
from chalicelib.domain.compose.build import build
from chalicelib.domain.compose.command_line import foreseen
from chalicelib.domain.compose.findings import Verdict, under
from chalicelib.domain.compose.values import (
    DROP,
    Reader,
    boolean,
    cpus,
    dropped,
    duration,
    few,
    ignored,
    integer,
    ip_address,
    kept,
    list_of,
    matching,
    network_name,
    optional,
    pairs,
    set_of,
    size,
    table,
    text,
    unless_nothing,
    whole,
    wrong,
)

MOST_REPLICAS = 10
# What Docker grants every container; adding one again matters only after `cap_drop: [ALL]`.
_CAPABILITIES = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
})  # fmt: skip
_ULIMITS = (
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nofile",
    "nproc",
    "rss",
    "sigpending",
    "stack",
)
_MOST_FILES = 1_048_576
_IMAGE = re.compile(
    r"(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::\d{1,5})?/)?"
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[0-9a-f]{64})?",
    re.ASCII,
)
_BUILT_HERE = re.compile(r"(?:\A|/)slipway/svc_[a-z0-9]{16}", re.IGNORECASE)
_LONGEST_IMAGE = 512

_CONTAINED = "remove it; a container stays in its own namespace"


def _namespace(_value: Any, path: str, verdict: Verdict) -> Any:
    verdict.refuse(path, "host-namespace", _CONTAINED)
    return DROP


def image(value: Any, path: str, verdict: Verdict) -> Any:
    if isinstance(value, str) and _BUILT_HERE.search(value) and not verdict.ours:
        verdict.refuse(path, "image", "name another: what Slipway built for a service is that service's alone")
        return DROP
    if isinstance(value, str) and len(value) <= _LONGEST_IMAGE and _IMAGE.fullmatch(value):
        return value
    verdict.refuse(path, "image", "name an image as registries do: nginx:1.27 or registry.example.com/team/app:2")
    return DROP


def command(value: Any, path: str, verdict: Verdict) -> Any:
    if value is None:
        return DROP
    if not isinstance(value, str):
        return list_of(text)(value, path, verdict)
    outcome = foreseen(value)
    if outcome == "broken":
        verdict.refuse(path, "wrong-type", "close its quotes, or write a list of words: [sh, -c, ...]")
    elif outcome == "cut":
        message = "Compose drops everything from the first ; & | < or > on; for a shell write a list: [sh, -c, ...]"
        verdict.warn(path, "command-cut", message)
    return value


def environment(value: Any, path: str, verdict: Verdict) -> Any:
    """None marks a name whose value comes from the variables."""
    read = pairs(value, path, verdict)
    for key in read:
        if not key or "=" in key or "\0" in key:
            verdict.refuse(under(path, key), "wrong-type", "give the variable a name")
    return read


def labels(value: Any, path: str, verdict: Verdict) -> Any:
    read = {key: written or "" for key, written in pairs(value, path, verdict).items()}
    for key in read:
        if not verdict.ours and key.lower().startswith(("slipway.", "com.docker.")):
            verdict.refuse(
                under(path, key), "reserved-label", "use a label that begins with neither slipway. nor com.docker."
            )
    return read


def _false_only(rule: str, message: str) -> Reader:
    def read(value: Any, path: str, verdict: Verdict) -> Any:
        if boolean(value, path, verdict) is True:
            verdict.refuse(path, rule, message)
        return DROP

    return read


def _only(allowed: tuple[str, ...], rule: str, message: str) -> Reader:
    def read(value: Any, path: str, verdict: Verdict) -> Any:
        if value is None:
            return DROP
        if value in allowed:
            return value
        verdict.refuse(path, rule, message)
        return DROP

    return read


def _capability(value: Any, path: str, verdict: Verdict) -> Any:
    name = text(value, path, verdict)
    if name is DROP:
        return DROP
    name = name.upper().removeprefix("CAP_")
    if name not in _CAPABILITIES:
        verdict.refuse(path, "capability", f"add none but {', '.join(sorted(_CAPABILITIES))}")
        return DROP
    return name


def _security_option(value: Any, path: str, verdict: Verdict) -> Any:
    if value in ("no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"):
        return "no-new-privileges:true"
    verdict.refuse(path, "security-opt", "set none but no-new-privileges:true")
    return DROP


def _restart(value: Any, path: str, verdict: Verdict) -> Any:
    """`always` becomes unless-stopped: a service stopped in the panel must not come back with the host."""
    policy = matching(
        r"no|always|unless-stopped|on-failure(:\d{1,4})?", "no, always, unless-stopped or on-failure[:times]"
    )
    read = policy(value, path, verdict)
    return "unless-stopped" if read == "always" else read


_TEST_KINDS = ("CMD", "CMD-SHELL", "NONE")


def _test(value: Any, path: str, verdict: Verdict) -> Any:
    if isinstance(value, str):
        return ["CMD-SHELL", value]
    if isinstance(value, list) and value and value[0] in _TEST_KINDS:
        return list_of(text)(value, path, verdict)
    return wrong(value, path, verdict, "a command, or a list beginning with CMD, CMD-SHELL or NONE")


# An interval of milliseconds would keep the host's Docker busy with one service.
_healthcheck = table({
    "test": optional(_test),
    "interval": duration(1, 86400),
    "timeout": duration(1, 86400),
    "retries": integer(1, 1000),
    "start_period": duration(0, 86400),
    "start_interval": dropped("removed: hosts with Docker before 25 cannot apply start_interval"),
    "disable": unless_nothing(boolean),
})  # fmt: skip


def _option_text(value: Any, path: str, verdict: Verdict) -> Any:
    return str(value) if whole(value) is not None else text(value, path, verdict)


def _max_file(value: Any, path: str, verdict: Verdict) -> Any:
    read = integer(1, 10, "logging")(value, path, verdict)
    return read if read is DROP else str(read)


def _max_size(value: Any, path: str, verdict: Verdict) -> Any:
    written = _option_text(value, path, verdict)
    if written is DROP or size(4096, 100 * 2**20)(written, path, verdict) is DROP:
        return DROP
    return matching(r"\d+[kmg]?", "a size such as 10m", "logging")(written, path, verdict)


_logging = table(
    {
        "driver": _only(("json-file", "local"), "logging", "use json-file or local; Slipway reads logs from there"),
        "options": optional(
            table(
                {"max-size": _max_size, "max-file": _max_file},
                dict.fromkeys(
                    ("tag", "labels", "env", "labels-regex", "env-regex", "compress", "mode", "max-buffer-size"),
                    ("logging", "keep only max-size and max-file"),
                ),
            )
        ),
    }
)


def _ulimit(low: int, high: int) -> Reader:
    """One number, or soft and hard. Compose prints no zeros, so both at zero are one zero here."""
    bound = integer(low, high)
    both = table({"soft": unless_nothing(bound), "hard": unless_nothing(bound)})
    return lambda value, path, verdict: (
        (both(value, path, verdict) or 0) if isinstance(value, dict) else bound(value, path, verdict)
    )


_PRIORITY = ("resource-limit", "remove it; priorities are the host's")
_ulimits = table(
    {name: _ulimit(-1, 2**63 - 1) for name in _ULIMITS} | {"nofile": _ulimit(0, _MOST_FILES)},
    dict.fromkeys(("nice", "rtprio", "rttime"), _PRIORITY),
)


_depends_entry = table({
    "condition": _only(
        ("service_started", "service_healthy", "service_completed_successfully"),
        "depends-on",
        "use service_started, service_healthy or service_completed_successfully",
    ),
    "restart": unless_nothing(boolean),
    "required": boolean,
})  # fmt: skip


def _depends_on(value: Any, path: str, verdict: Verdict) -> Any:
    if isinstance(value, list):
        names: list[str] = list_of(text)(value, path, verdict)
        return {name: {"condition": "service_started", "required": True} for name in names}
    if not isinstance(value, dict):
        return wrong(value, path, verdict, "a list of services or a mapping")
    read = {
        name: _depends_entry(entry, under(path, name), verdict) for name, entry in few(value, path, verdict).items()
    }
    return {
        name: {"condition": "service_started", "required": True} | entry
        for name, entry in read.items()
        if entry is not DROP
    }


_network_entry = table(
    {
        "aliases": set_of(network_name),
        "priority": dropped("removed: Slipway decides the order of networks"),
        "gw_priority": dropped("removed: Slipway decides the order of networks"),
        "ipv4_address": dropped("removed: addresses are given by the host; use the service's name"),
        "ipv6_address": dropped("removed: addresses are given by the host; use the service's name"),
    },
    {
        "driver_opts": ("network-driver", "remove it; networks take no driver options"),
        "link_local_ips": ("network-driver", "remove it; addresses are given by the host"),
        "mac_address": ("network-driver", "remove it; addresses are given by the host"),
    },
)


def _networks(value: Any, path: str, verdict: Verdict) -> Any:
    if isinstance(value, list):
        names: list[str] = list_of(text)(value, path, verdict)
        return {name: {} for name in names}
    if not isinstance(value, dict):
        return wrong(value, path, verdict, "a list of networks or a mapping")
    read = {
        name: {} if entry is None else _network_entry(entry, under(path, name), verdict)
        for name, entry in few(value, path, verdict).items()
    }
    return {name: entry for name, entry in read.items() if entry is not DROP}


_not_outside_swarm = dropped("removed: Compose does not apply it; make the file readable in the image or by its user")
_file_entry = table({
    "source": text,
    "target": text,
    "uid": _not_outside_swarm,
    "gid": _not_outside_swarm,
    "mode": _not_outside_swarm,
})  # fmt: skip


def _files(value: Any, path: str, verdict: Verdict) -> Any:
    """The configs or secrets a service is given, each as source and target."""

    def one(item: Any, at: str, verdict: Verdict) -> Any:
        return {"source": item} if isinstance(item, str) else _file_entry(item, at, verdict)

    return list_of(one)(value, path, verdict)


def _extra_hosts(value: Any, path: str, verdict: Verdict) -> Any:
    entries: list[tuple[str, Any, str]] = []
    if isinstance(value, dict):
        for name, written in few(value, path, verdict).items():
            addresses = written if isinstance(written, list) else [written]
            entries += [(name, address, under(path, name)) for address in addresses]
    elif isinstance(value, list):
        for index, item in enumerate(few(value, path, verdict)):
            parts = re.fullmatch(r"([^=:]+)[=:](.*)", item) if isinstance(item, str) else None
            entries.append((parts[1], parts[2], under(path, index)) if parts else ("", item, under(path, index)))
    else:
        return wrong(value, path, verdict, "a list of NAME=ADDRESS or a mapping")
    return kept(_extra_host(*entry, verdict) for entry in entries)


def _extra_host(name: str, address: Any, path: str, verdict: Verdict) -> Any:
    if address == "host-gateway":
        verdict.refuse(path, "host-gateway", "remove it; services do not talk to the host itself")
        return DROP
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,253}", name, re.ASCII):
        return wrong(name, path, verdict, "NAME=ADDRESS")
    read = ip_address(address.strip("[]") if isinstance(address, str) else address, path, verdict)
    return DROP if read is DROP else f"{name}={read}"


def _hostname(value: Any, path: str, verdict: Verdict) -> Any:
    """The first label answers on the networks; what follows a dot is the domain."""
    if not isinstance(value, str):
        return wrong(value, path, verdict, "a host name")
    name, dot, domain = value.partition(".")
    if dot and not re.fullmatch(r"[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){0,10}", domain, re.ASCII):
        return wrong(value, path, verdict, "a host name")
    return DROP if network_name(name, path, verdict) is DROP else value


def _container_name(value: Any, path: str, verdict: Verdict) -> Any:
    """Two customers may not fight over a name; inside the project the service still answers to it."""
    read = network_name(value, path, verdict)
    if read is not DROP:
        verdict.warn(
            path, "name-dropped", "the container is named by Slipway; inside the project it answers to this name"
        )
    return read


def _link(value: Any, path: str, verdict: Verdict) -> Any:
    """SERVICE or SERVICE:ALIAS; an alias is a name on the network like any other."""
    if not isinstance(value, str):
        return wrong(value, path, verdict, "SERVICE or SERVICE:ALIAS")
    _, colon, alias = value.partition(":")
    return DROP if colon and network_name(alias, path, verdict) is DROP else value


_pids = integer(1, 32768)
_memory = size(6 * 2**20, 2**50)  # Docker's own least is 6 MiB
_swarm = dropped("removed: only a swarm applies it")
_device_reservation = ("gpus", "remove it; devices are not given out")
_deploy = table(
    {
        "replicas": integer(0, MOST_REPLICAS, "replicas"),
        "resources": optional(
            table({
                "limits": optional(table({"cpus": cpus, "memory": _memory, "pids": _pids})),
                "reservations": optional(
                    table(
                        {"cpus": dropped("removed: only a swarm reserves CPUs"), "memory": _memory},
                        {"devices": _device_reservation, "generic_resources": _device_reservation},
                    )
                ),
            })
        ),
        "restart_policy": optional(
            table({
                "condition": _only(("none", "on-failure", "any"), "wrong-type", "use none, on-failure or any"),
                "max_attempts": integer(0, 9999),
                "delay": ignored,
                "window": ignored,
            })
        ),
        "mode": _only(("replicated",), "replicas", "use replicated; there is one host"),
        "labels": _swarm,
        "update_config": _swarm,
        "rollback_config": _swarm,
        "placement": ignored,
        "endpoint_mode": _swarm,
    }
)  # fmt: skip


SERVICE: dict[str, Reader] = {
    "image": image,
    "build": optional(build),
    "command": command,
    "entrypoint": command,
    "environment": environment,
    "labels": labels,
    "ports": optional(ports.ports),
    "expose": optional(ports.exposed),
    "volumes": optional(mounts.volumes),
    "tmpfs": optional(mounts.tmpfs),
    "networks": optional(_networks),
    "depends_on": optional(_depends_on),
    "links": optional(set_of(_link)),
    "configs": optional(_files),
    "secrets": optional(_files),
    "deploy": optional(_deploy),
    "scale": integer(0, MOST_REPLICAS, "replicas"),
    "cpus": cpus,
    "mem_limit": _memory,
    "mem_reservation": _memory,
    "pids_limit": _pids,
    "cpu_shares": integer(2, 1024),
    "oom_score_adj": unless_nothing(integer(0, 1000)),
    "shm_size": size(4096, 8 * 2**30),
    "ulimits": optional(_ulimits),
    "memswap_limit": dropped("removed: Docker gives a container as much swap as it may have memory"),
    "mem_swappiness": dropped("removed: swapping is the host's matter"),
    "healthcheck": optional(_healthcheck),
    "logging": optional(_logging),
    "restart": optional(_restart),
    "profiles": optional(set_of(text)),
    "container_name": optional(_container_name),
    "hostname": optional(_hostname),
    "domainname": optional(matching(r"[A-Za-z0-9.-]{1,253}", "a domain name")),
    "user": matching(r"[A-Za-z0-9_.:-]{1,100}", "a user such as 1000:1000, as text"),
    "group_add": optional(set_of(_option_text)),
    "working_dir": matching(r"/[^\0]*", "an absolute path"),
    "read_only": unless_nothing(boolean),
    "tty": unless_nothing(boolean),
    "stdin_open": unless_nothing(boolean),
    "init": boolean,
    "stop_signal": matching(r"(SIG)?[A-Z0-9+-]{1,12}", "a signal such as SIGTERM"),
    "stop_grace_period": duration(0, 120),
    "extra_hosts": optional(_extra_hosts),
    "dns": optional(set_of(ip_address, or_one=True)),
    "dns_search": optional(set_of(matching(r"[A-Za-z0-9_.-]{1,253}", "a domain"), or_one=True)),
    "dns_opt": optional(set_of(matching(r"[a-z0-9:-]{1,64}", "a resolver option"))),
    "platform": matching(r"linux(/[a-z0-9]+(/[a-z0-9]+)?)?", "a platform such as linux/amd64"),
    "cap_add": optional(set_of(_capability)),
    "cap_drop": optional(set_of(matching(r"[A-Z_]{1,40}", "a capability such as ALL"))),
    "security_opt": optional(set_of(_security_option)),
    "privileged": _false_only(
        "privileged", "remove it; add single capabilities with cap_add where Slipway allows them"
    ),
    "network_mode": _only(("none",), "host-namespace", "remove it and list networks; only none may be written"),
    "pid": optional(_namespace),
    "uts": optional(_namespace),
    "userns_mode": optional(_namespace),
    "ipc": _only(("private", "shareable", "none"), "host-namespace", _CONTAINED),
    "cgroup": _only(("private",), "host-namespace", _CONTAINED),
    "oom_kill_disable": _false_only("resource-limit", "remove it; a container over its memory limit is ended"),
    "use_api_socket": _false_only("docker-socket", "remove it; a service must not control the host's Docker"),
    "pull_policy": ignored,
    "attach": ignored,
    "develop": dropped("removed: it serves development on one's own machine"),
}

_DEVICE = ("device", "remove it; devices of the host are not given out")
_CPU = ("resource-limit", "remove it; limit CPUs with cpus")
_RUNTIME = ("runtime", "remove it; all containers run contained alike")
_HOOK = ("hook", "remove it; put the command into the image or a service of its own")
SERVICE_REFUSED: dict[str, tuple[str, str]] = {
    "extends": ("extends", "write the other service's keys here"),
    "env_file": ("host-file", "write the variables under environment, or give them as the service's variables"),
    "label_file": ("host-file", "write the labels under labels"),
    "credential_spec": ("host-file", "remove it"),
    "devices": _DEVICE,
    "device_cgroup_rules": _DEVICE,
    "gpus": ("gpus", "remove it; GPUs are not given out"),
    "volumes_from": ("volumes-from", "mount the same named volume in both services"),
    "external_links": ("external", "remove it; other projects cannot be reached"),
    "sysctls": ("sysctl", "remove it; kernel settings are the host's"),
    "runtime": _RUNTIME,
    "isolation": _RUNTIME,
    "cgroup_parent": _RUNTIME,
    "storage_opt": _RUNTIME,
    "annotations": _RUNTIME,
    "blkio_config": _RUNTIME,
    "post_start": _HOOK,
    "pre_stop": _HOOK,
    "pre_start": _HOOK,
    "provider": ("provider", "remove it; nothing is started on the host but containers"),
    "models": ("provider", "remove it; models are not provided"),
    "mac_address": ("network-driver", "remove it; addresses are given by the host"),
    **dict.fromkeys(
        ("cpu_count", "cpu_percent", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpuset"), _CPU
    ),
}

read_service = table(SERVICE, SERVICE_REFUSED)
