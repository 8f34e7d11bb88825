"""The steps of a deploy from a repository: fetch it, plan it, and build its images, before anything of it runs.

What a repository says is judged as what a customer writes: its compose file by the same policy, its Dockerfiles by
`domain/dockerfile.py`. The release is then known as fully as any other, and the rest of the workflow is the same for
all.
"""

import hashlib
import json
import posixpath
from typing import Any

from chalicelib.commands import kit
from chalicelib.deploy import drafting
from chalicelib.deploy.logins import closed_to, has_pulled, logins_for, will_pull
from chalicelib.deploy.placing import hold_to_limits, hold_to_machine, naming_the_limit, room_for
from chalicelib.deploy.sizes import refuse_too_large
from chalicelib.deploy.work import WAIT_SECONDS, Work
from chalicelib.domain import compose, dockerfile, planning
from chalicelib.domain.errors import (
    BuildFailed,
    CommandFailed,
    NoRoom,
    RepositoryUnavailable,
    Unhealthy,
    ValidationFailed,
)
from chalicelib.domain.git import Build, Repository
from chalicelib.domain.job import Planned
from chalicelib.domain.planning import BuildPlan, Tree
from chalicelib.domain.service import HealthCheck, NetworkPlan, Published, Release, Service, Source
from chalicelib.wiring import adapters

_SHORT = 8  # digits by which people know a commit
_MOST_FAILURE = 8000
# What another plan may mend: a build that failed, or something that started and is not well.
_MENDABLE = (BuildFailed.code, Unhealthy.code, CommandFailed.code)


def source(work: Work) -> str:
    """The repository at its commit, on the host; as a detached job, since a large one takes its time."""
    made_of, release, settings = work.source(work.release.number), work.release, adapters().settings
    repository = _repository(made_of)
    outcome = work.detached(
        "fetch",
        lambda name: kit.start_fetch(
            release.service_id,
            work.job.fence,
            job=name,
            release=release.number,
            sources=kit.Sources(
                url=repository.url,
                branch=repository.branch,
                commit=work.job.commit or repository.commit,
                submodules=repository.submodules,
                token=made_of.credentials.token,
                deploy_key=made_of.credentials.deploy_key,
                known_hosts=work.service.known_hosts,
                allowed_networks=settings.git_networks,
                max_mb=settings.max_repository_mb,
                timeout_s=settings.git_fetch_timeout_seconds,
            ),
            wait_s=WAIT_SECONDS,
        ),
        RepositoryUnavailable,
    )
    if outcome == "done":
        work.change_release(commit=work.result["commit"], known_hosts=work.result["known_hosts"])
        work.say(f"at commit {short(work.release)}")
    return outcome


def plan(work: Work) -> str:
    """What the repository holds, and so what the release is: its document, its images and what they are built from."""
    path = _repository(work.source(work.release.number)).path
    tree = read_tree(work, path)
    settle(work, _refined(work, tree.below(path)) if work.is_ai else planning.plan(tree, path=path), tree)
    return "planned" if work.job.kind == "plan" else "done"


def repair(work: Work) -> str:
    """Have a model mend the plan that failed; `give_up` where it has nothing else to try, or that is not allowed."""
    from chalicelib.planning import configured  # noqa: PLC0415 - few jobs need a model
    from chalicelib.planning import repair as mended  # noqa: PLC0415

    error, made_of = work.job.error, work.source(work.release.number)
    if error is None:  # this was done, and its answer lost
        return "done"
    if error["code"] not in _MENDABLE or made_of.plan is None:
        return "give_up"
    path = _repository(made_of).path
    tree, before = read_tree(work, path), BuildPlan.model_validate(made_of.plan)
    told = mended(tree.below(path), before, _failure(error), work.job.round + 1, configured(), redactor=work.redactor)
    if told.builds_like(before):
        return _given_up(work, told.reasons[-1])
    try:
        settle(work, told, tree, because=error["message"])
    except (ValidationFailed, BuildFailed, NoRoom) as refused:
        return _given_up(work, f"the model's change was refused: {refused.message}")
    work.say(f"repair {work.job.round}: {told.reasons[-1]}")
    return "done"


def build(work: Work) -> str:
    """The release's images, by the engine's builder under limits; a detached job that may take minutes."""
    made_of, release, settings = work.source(work.release.number), work.release, adapters().settings
    images = {image for one in made_of.builds for image in one.images}
    closed = sorted(closed_to(work.job.customer_id, images))
    logins = logins_for(work.job.customer_id, images)
    will_pull(work.job.customer_id, images, logins)
    outcome = work.detached(
        "build",
        lambda name: kit.start_build(
            release.service_id,
            work.job.fence,
            job=name,
            release=release.number,
            building=kit.Building(
                builds=[_image(one, release.number) for one in made_of.builds],
                pull=closed,
                limits=kit.BuildLimits(memory_mb=settings.build_memory_mb, cpu_millis=settings.build_cpu_millis),
                min_disk_mb=settings.min_disk_mb,
                timeout_s=settings.build_timeout_seconds,
            ),
            logins=logins or None,
            wait_s=WAIT_SECONDS,
        ),
        BuildFailed,
    )
    if outcome == "done":
        has_pulled(work.job.customer_id, images, logins)
    return outcome


def _refined(work: Work, inside: Tree) -> BuildPlan:
    from chalicelib.planning import configured, refine  # noqa: PLC0415 - few jobs need a model

    return refine(inside, None, configured(), redactor=work.redactor)


def _failure(error: dict[str, Any]) -> str:
    """The end of what a failed build or start said."""
    details = error.get("details") or {}
    told = details.get("output") or "\n".join(details.get("logs") or ())
    return f"{error['message']}\n{told}"[-_MOST_FAILURE:]


def _given_up(work: Work, why: str) -> str:
    work.say(f"not repaired: {why}")
    return "give_up"


def read_tree(work: Work, path: str, *paths: str) -> Tree:
    asked = kit.tree(work.job.service_id, wanted=planning.WANTED, path=path, paths=paths)
    return Tree.model_validate(work.ask(asked))


def settle(work: Work, plan: BuildPlan, tree: Tree, because: str = "") -> None:
    """Make the release what this plan says, and note the plan in the job. Raise what refuses it; it may be repeated.

    `because` is the failure that the plan is to mend.
    """
    service, release, made_of = work.service, work.release, work.source(work.release.number)
    text = _with_variables(plan, made_of.variables)
    built = f"slipway/{service.id}:{release.number}" + (f"-{work.job.round + 1}" if because else "")
    planned = _judged(service, release, made_of, plan, text, built)
    builds = [_build(work, one, plan, tree) for one in planned.builds]
    made_from = _fingerprint(release, builds)
    running = adapters().services.release(service.id, service.release) if service.release else None
    if running and running.built and running.made_from == made_from:
        # The same sources, built the same way: its images are what this build would make.
        built = running.built
        planned = _judged(service, release, made_of, plan, text, built)
        builds = [one.model_copy(update={"tag": new.tag}) for one, new in zip(builds, planned.builds, strict=True)]
    hold_to_machine(service.host_id, drafting.largest_of(planned))
    if running:
        planned = planned.keeping_unchanged(work.source(running.number).document)
    _store(
        work,
        _filled(release, planned, plan, built if builds else "", made_from),
        made_of.model_copy(
            update={
                "compose": text,
                "document": planned.document,
                "builds": tuple(builds),
                "plan": plan.model_dump(mode="json"),
            }
        ),
        _planned(plan, work.release, because, planned),
    )


def deployed_from(service: Service, release: Release) -> str:
    """For the timeline: the repository and the commit."""
    if service.repository is None or release.commit is None:
        return ""
    return f"{service.repository.url} at commit {short(release)}"


def short(release: Release) -> str:
    return (release.commit or "")[:_SHORT]


def _repository(made_of: Source) -> Repository:
    if made_of.repository is None:
        raise RepositoryUnavailable("this release is not made of a repository")
    return made_of.repository


def _image(one: Build, release: int) -> kit.Image:
    return kit.Image(
        service=one.service,
        tag=one.tag,
        context=one.context,
        dockerfile=one.dockerfile,
        text=one.text,
        ignore=one.ignore,
        target=one.target,
        args=one.args,
        labels={"slipway.release": str(release)},
    )


def _with_variables(plan: BuildPlan, variables: dict[str, str]) -> str:
    """The plan's compose text. Where it is ours the app gets every variable; a compose file says who gets which."""
    if plan.kind == "compose" or not variables:
        return plan.compose
    document = compose.read(plan.compose)
    service = document["services"][planning.SERVICE]
    named = {**document, "services": {planning.SERVICE: {**service, "environment": sorted(variables)}}}
    return json.dumps(named, indent=2, ensure_ascii=False)  # it is read as YAML, which knows no pairs of escapes


def _judged(
    service: Service, release: Release, made_of: Source, plan: BuildPlan, text: str, built: str
) -> compose.Plan:
    """By the policy that holds for anybody's compose text; that it may build from its repository is all it may more."""
    planned = compose.plan(
        text,
        made_of.variables,
        service_id=service.id,
        release=release.number,
        publish_ports=service.publishes_ports,
        defaults=drafting.defaults_of(made_of),
        expose=(planning.SERVICE, plan.port) if plan.kind != "compose" and plan.port else None,
        repository=compose.Repository(folder=_repository(made_of).path, image=built),
    )
    return drafting.telling_unused_limits(planned, made_of.limits)


def _build(work: Work, one: compose.Built, plan: BuildPlan, tree: Tree) -> Build:
    label = f"slipway.service={work.job.service_id}"
    text = _text_of(work, one, plan, tree)
    judged = dockerfile.judged(text, one.args, label, plan.dockerfile_path or one.dockerfile)
    inside = posixpath.relpath(one.dockerfile, one.context or ".")
    return Build(
        service=one.service,
        tag=one.tag,
        context=one.context,
        dockerfile="" if inside.startswith("../") else inside,
        text=judged.text,
        ignore=plan.dockerignore,
        target=one.target,
        args=one.args,
        images=judged.images,
    )


def _text_of(work: Work, one: compose.Built, plan: BuildPlan, tree: Tree) -> str:
    if plan.dockerfile is not None:
        return plan.dockerfile
    text = tree.texts.get(one.dockerfile)
    if text is None:
        text = read_tree(work, "", one.dockerfile).texts.get(one.dockerfile)
    if text is None:
        raise BuildFailed(f"services.{one.service}.build: the repository has no Dockerfile at {one.dockerfile}")
    return text


def _fingerprint(release: Release, builds: list[Build]) -> str:
    what = [one.model_dump(mode="json", exclude={"tag"}) for one in builds]
    return hashlib.sha256(json.dumps([release.commit, what], sort_keys=True).encode()).hexdigest()


def _filled(release: Release, planned: compose.Plan, plan: BuildPlan, built: str, made_from: str) -> Release:
    checked = plan.health_path is not None and planned.routed is not None
    return release.model_copy(
        update={
            "images": planned.images,
            "route_service": planned.routed.service if planned.routed else None,
            "route_port": planned.routed.port if planned.routed else None,
            "published": tuple(
                Published(ip=port.ip, port=port.port, protocol=port.protocol) for port in planned.published
            ),
            "networks": tuple(
                NetworkPlan(name=network.name, edge=network.edge, internal=network.internal)
                for network in planned.networks
            ),
            "cpu_millis": planned.cpu_millis,
            "memory_mb": planned.memory_mb,
            "built": built,
            "made_from": made_from,
            "reasons": plan.reasons,
            "health_check": HealthCheck(
                path=plan.health_path,
                port=planned.routed.port,
                timeout_seconds=adapters().settings.health_timeout_seconds,
            )
            if checked and plan.health_path and planned.routed
            else None,
        }
    )


def _store(work: Work, release: Release, made_of: Source, planned: Planned) -> None:
    refuse_too_large(made_of)
    service = work.service
    promised = drafting.larger(service.promised, drafting.amount_of(release))
    more = promised.minus(service.promised)
    hold_to_limits(adapters().customers.get(service.customer_id), more, 0)
    room = room_for(service.host_id, service.customer_id)
    sealed = drafting.sealed_source(made_of, service.id)
    with naming_the_limit(service.customer_id, more):
        settled = adapters().services.settle(service, release, sealed, promised, room)
    work.settled(settled, release)
    before = work.job.plans if planned.because else ()
    work.job = adapters().jobs.change(work.job, plans=(*before, planned), **({"error": None} if before else {}))


def _planned(plan: BuildPlan, release: Release, because: str, planned: compose.Plan) -> Planned:
    return Planned(
        by="model" if plan.tokens_used else "rules",
        commit=release.commit or "",
        kind=plan.kind,
        stack=plan.stack,
        reasons=plan.reasons,
        warnings=(*plan.warnings, *(f"{found.path}: {found.message}" for found in planned.warnings)),
        port=planned.routed.port if planned.routed else None,
        health_path=plan.health_path,
        build_command=plan.build_command,
        start_command=plan.start_command,
        base_images=plan.base_images,
        dockerfile=plan.dockerfile,
        compose=plan.compose,
        because=because,
    )
