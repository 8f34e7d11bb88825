"""What Compose resolved on the host, held against the document it was given, before anything starts.

The document is already in Compose's normal form, so little may differ: the keys Compose fills in, and how it
splits a command. Everything else is a surprise, whether it came from a file on the host, the environment or a
version of Compose that reads something its own way. The allow-list runs again too, on what will really run.
"""

from collections.abc import Mapping
from typing import Any

from chalicelib.domain.compose.findings import Finding, Verdict, under
from chalicelib.domain.compose.interpolate import unescaped
from chalicelib.domain.compose.service_keys import read_service

_COMMANDS = ("command", "entrypoint")


def judge(resolved: Mapping[str, Any], plan_document: Mapping[str, Any]) -> list[Finding]:
    """Findings on `docker compose config --format json`; none means that what runs is what was judged."""
    seen = unescaped(dict(resolved), keys=True)
    meant = unescaped(dict(plan_document), keys=False)
    verdict = Verdict(ours=True)
    if not isinstance(seen.get("services"), dict):
        return [Finding("services", "resolved-differs", "Compose printed no services")]
    _compare({key: seen[key] for key in seen if key != "services"}, _expected_top(meant), "", verdict)
    _compare(dict.fromkeys(seen["services"]), dict.fromkeys(meant["services"]), "services", verdict)
    for name in seen["services"].keys() & meant["services"].keys():
        path = f"services.{name}"
        found = read_service(seen["services"][name], path, verdict)
        wanted = read_service(meant["services"][name], path, Verdict(ours=True))
        _compare(_without_spelling(found), _without_spelling(wanted), path, verdict, split=_COMMANDS)
    return verdict.refused


def _expected_top(document: dict[str, Any]) -> dict[str, Any]:
    """The parts beside the services, with the names Compose fills in."""
    project = document["name"]
    top: dict[str, Any] = {"name": project}
    if "networks" in document:
        top["networks"] = {key: {**network, "ipam": {}} for key, network in document["networks"].items()}
    for part in ("volumes", "configs"):
        if part in document:
            top[part] = {key: {**entry, "name": f"{project}_{key}"} for key, entry in document[part].items()}
    return top


def _without_spelling(service: Any) -> dict[str, Any]:
    """One service without what Compose says twice: `scale` repeats deploy.replicas."""
    if not isinstance(service, dict):
        return {}
    known = dict(service)
    scale = known.pop("scale", None)
    if scale is not None:
        known["deploy"] = {**known.get("deploy", {}), "replicas": scale}
    return known


def _compare(seen: Any, meant: Any, path: str, verdict: Verdict, split: tuple[str, ...] = ()) -> None:
    if isinstance(seen, dict) and isinstance(meant, dict):
        for key in sorted(seen.keys() | meant.keys()):
            if key in split and isinstance(meant.get(key), str) and isinstance(seen.get(key), list):
                continue  # Compose splits a command's words; who may run any command may run either
            if (key in seen) != (key in meant):
                verdict.refuse(
                    under(path, key), "resolved-differs", "Compose added it" if key in seen else "Compose lost it"
                )
            else:
                _compare(seen[key], meant[key], under(path, key), verdict)
    elif seen != meant:
        verdict.refuse(path, "resolved-differs", "Compose reads another value here than the one that was judged")
