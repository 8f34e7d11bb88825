"""What the reader and the policy have to say about a file: findings, and the rules they quote.

Every finding is collected before anything is refused, because a person who fixes one line only to be told
about the next one stops believing the tool. No message repeats a value from the file: after interpolation
any value may be a secret, while the path already says where to look.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Final

from chalicelib.domain.errors import ValidationFailed

RULES: Final[dict[str, str]] = {
    # The text
    "too-large": "The file, or what its aliases and variables expand to, is larger than any service needs.",
    "not-yaml": "The text is not YAML that Compose reads; the message gives line and column.",
    "too-deep": "Lists and mappings are nested deeper than any Compose file is.",
    "alias-expansion": "Aliases expand to far more than was written, or an anchor contains itself; "
    "such a file can take all of a host's memory.",
    "duplicate-key": "A mapping has the same key twice, and readers disagree which one counts.",
    "yaml-tag": "Tags such as !reset or !!python/object change what the text means; only YAML's plain types are read.",
    "multiple-documents": "One Compose file is one YAML document.",
    "no-services": "There is no service to run.",
    # Variables
    "invalid-interpolation": "A $ is followed by something Compose cannot read; write $$ for a literal $.",
    "missing-variable": "The file requires a variable (${NAME:?…}, or a config's environment) that has no value.",
    "unset-variable": "Warning: a variable has no value and became empty text.",
    "reserved-variable": "COMPOSE_ and DOCKER_ variables steer Compose and Docker themselves.",
    "variable-name": "A variable's name has letters, digits and _ and does not begin with a digit.",
    "variable-value": "A variable's value is text without NUL bytes.",
    # Shape
    "unknown-key": "Only keys that were judged are accepted, so whatever Compose invents next is refused until then.",
    "wrong-type": "The value is not of the kind Compose expects here.",
    "image": "Every service runs an image, named as registries name them.",
    "service-name": "A service's name is a host name on its networks: letters, digits, _ and -, at most 63.",
    "reserved-name": "A name of the form svc_…, or with a dot, could answer for somebody else on the edge's networks.",
    "too-many": "More services, ports or entries than one project may have.",
    "depends-on": "A service depends on one that is not in the project, or two depend on each other.",
    "undefined": "A volume, network, config or secret is used and not declared.",
    # What would leave the sandbox
    "privileged": "A privileged container is root on the host.",
    "host-namespace": "Sharing the host's or another container's network, process, IPC, user, UTS or cgroup namespace.",
    "device": "Devices of the host, and rules to reach them.",
    "gpus": "GPUs and other reserved devices of the host.",
    "capability": "Only capabilities that Docker grants anyway may be added.",
    "security-opt": "Only no-new-privileges may be set; seccomp, AppArmor and SELinux stay as Docker sets them.",
    "docker-socket": "Docker's socket is root on the host.",
    "host-bind": "Mounting a path of the host; beside a pasted file there is nothing to mount by a relative path.",
    "mount": "A kind of mount, an option or a target that reaches outside the container or hides its system.",
    "volume-name": "A volume's name has at least two characters; Compose takes a single letter for a drive.",
    "volume-driver": "Volumes are local, without driver options, which can mount anything of the host.",
    "network-driver": "Networks are bridges made by Slipway, without driver options.",
    "external": "Volumes, networks, configs, secrets and links from outside the project belong to somebody else.",
    "volumes-from": "Mounting another container's volumes.",
    "sysctl": "Kernel settings.",
    "runtime": "Another runtime, isolation, cgroup parent, storage option or annotation changes what contains it.",
    "hook": "Commands beside the container's own, which may run privileged.",
    "provider": "Programs that Compose starts on the host, and models it provides.",
    "host-gateway": "A name for the host's own address.",
    "logging": "Logs are read from json-file or local, with rotation.",
    "build": "Images are built from a repository, from folders inside of it, and never from a pasted file.",
    "include": "Reading other files or addresses into this one.",
    "extends": "Reading a service from another file.",
    "host-file": "Reading a file of the host: env_file, label_file, a config's or secret's file.",
    "reserved-label": "Labels of slipway. and com.docker. say what belongs to whom on the host.",
    "resource-limit": "A limit that means none, is above what Slipway allows, is said twice, or escapes other limits.",
    "replicas": "A service runs 1 to 10 replicas, and one only where it publishes a fixed port.",
    "port": "Something that is not a port, or a range too wide.",
    "expose": "The service and port to route to are not in the project.",
    "read-only-config": "Compose cannot write a config or secret into a read-only container.",
    # What is changed rather than refused
    "port-not-published": "Warning: a host port is not published; the port is routed by name, or open to the project.",
    "command-cut": "Warning: Compose starts no shell and drops a command's text from the first ; & | < or > on.",
    "not-applied": "Warning: the setting has no effect here and was left out.",
    "name-dropped": "Warning: a fixed name, which could clash with or reach another customer's, was left to Slipway.",
    "profile-left-out": "Warning: a service with profiles is judged and not started, as by Compose without --profile.",
    # On the host
    "resolved-differs": "What Compose resolved on the host is not the document that was judged.",
}

_MOST_FINDINGS = 200


@dataclass(frozen=True)
class Finding:
    """One thing wrong or changed. `message` says what and how to fix it; the list it is in says how severe."""

    path: str
    rule: str
    message: str


@dataclass
class Verdict:
    """The findings so far. `ours` admits the names and labels that Slipway itself writes.

    `folder` is where in a repository the file lies; None where it lies in none, so that nothing can be built.
    """

    ours: bool = False
    folder: str | None = None
    refused: list[Finding] = field(default_factory=list)
    warned: list[Finding] = field(default_factory=list)

    def refuse(self, path: str, rule: str, message: str) -> None:
        _note(self.refused, path, rule, message)

    def warn(self, path: str, rule: str, message: str) -> None:
        _note(self.warned, path, rule, message)

    def settle(self) -> None:
        if self.refused:
            raise refusal(self.refused)


def refusal(findings: list[Finding]) -> ValidationFailed:
    first, count = findings[0], len(findings)
    others = f" (and {count - 1} more)" if count > 1 else ""
    message = f"the compose file is refused: {first.path or 'file'}: {first.message}{others}"
    return ValidationFailed(message, details=[asdict(finding) for finding in findings])


def under(path: str, key: object) -> str:
    """The path of a key or an index below `path`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    name = str(key)[:80]
    return f"{path}.{name}" if path else name


def found(path: str, rule: str, message: str) -> ValidationFailed:
    """A refusal for what ends the reading: nothing after it can be judged."""
    return refusal([Finding(path, rule, message)])


def kind(value: Any) -> str:
    if value is None:
        return "nothing"
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false"}
    return names.get(type(value), "a number")


def _note(findings: list[Finding], path: str, rule: str, message: str) -> None:
    if rule not in RULES:
        raise KeyError(rule)
    finding = Finding(path, rule, message)
    if len(findings) < _MOST_FINDINGS and finding not in findings:
        findings.append(finding)
