"""What every step of the workflow has in hand, and how a step begins, fails and is told to stop.

A step may run twice: Lambda retries, and an answer may be lost. Beginning one is a single conditional write that
announces it and takes a fencing number, which the host compares before it changes anything.
"""

import logging
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from chalicelib.commands import kit
from chalicelib.commands.command import Command
from chalicelib.deploy import drafting
from chalicelib.deploy.logins import logins_for
from chalicelib.domain.errors import Cancelled, CommandFailed, DeadlinePassed, LeaseLost, SlipwayError, Unavailable
from chalicelib.domain.job import Job
from chalicelib.domain.panel import Host
from chalicelib.domain.redaction import Redactor, secret_values
from chalicelib.domain.service import Event, Release, Service, Source
from chalicelib.domain.words import new_id, now
from chalicelib.live import kept
from chalicelib.store.table import Lost
from chalicelib.wiring import adapters

if TYPE_CHECKING:
    from chalicelib.ssh import RemoteHost

log = logging.getLogger("slipway.steps")

# Steps from which there is no turning back, so that a cancel or a deadline does not stop them.
_ENDINGS = {"RollBack", "RecordFailure", "RecordRollBackFailure", "RecordRemoval", "RecordRemovalFailure", "Record"}
_AFTER_FAILURE = {"RollBack", "RecordRollBackFailure", "RecordRemovalFailure"}
# Steps that change nothing that the next one loads: it takes over what they had in hand. Most run in the same process.
_HANDED_ON = {"Admit", "Preflight", "Upload", "Up", "Health"}
# Steps after which the host no longer runs just what it ran before.
_UP = {"Up"}
# A step polls inside itself this long before the workflow's Wait takes over.
POLL_SECONDS = 18
# Short waits on the host notice a cancel soon; most commands end within one.
WAIT_SECONDS = 2
_OUTPUT_LINES = 40
_MOST_IN_HAND = 200
_in_hand: dict[str, "Work"] = {}


@dataclass
class Work:
    """One attempt of one step: its job as begun, and what belongs to it, loaded when first asked for."""

    step: str
    job: Job
    result: dict[str, Any] = field(default_factory=dict)  # of the detached job that ended in this step
    _pair: tuple[Service, Release] | None = field(default=None, repr=False)
    _host: Host | None = field(default=None, repr=False)
    _remote: "RemoteHost | None" = field(default=None, init=False, repr=False)
    _sources: dict[tuple[int, int], Source] = field(default_factory=dict, init=False, repr=False)

    @property
    def service(self) -> Service:
        return self._loaded()[0]

    @property
    def release(self) -> Release:
        return self._loaded()[1]

    @property
    def is_ai(self) -> bool:
        """Whether a model may be asked how its repository is run."""
        return self.service.deploy_method == "ai"

    def _loaded(self) -> tuple[Service, Release]:
        if self._pair is None:
            self._pair = adapters().services.with_release(self.job.service_id, self.job.release)
        return self._pair

    @property
    def host(self) -> Host:
        if self._host is None:
            self._host = adapters().hosts.get(self.job.host_id)
        return self._host

    def next(self, step: str, job: Job) -> "Work":
        """The next step, with what this one had in hand."""
        return Work(step, job, _pair=self._pair, _host=self._host)

    def ask(self, command: Command, timeout: float = 60) -> dict[str, Any]:
        """The host kit's answer."""
        return self.remote.kit(command, timeout)

    @property
    def remote(self) -> "RemoteHost":
        # cached_property would hold one lock for all Works meanwhile (Python 3.11), and a dead host hold up every job.
        if self._remote is None:
            self._remote = adapters().connected(self.host)
        return self._remote

    @cached_property
    def redactor(self) -> Redactor:
        """For the secrets of what runs and of what shall run, and of what is pulled by."""
        service = self._pair[0] if self._pair else adapters().services.find(self.job.service_id)
        if service is None:
            return Redactor(())
        return _redactor(self.job, service.release, self.logins)

    @cached_property
    def logins(self) -> dict[str, kit.Login]:
        """The customer's logins at the registries of what this job pulls."""
        return logins_for(self.job.customer_id, self.job.pull) if self.job.pull else {}

    def change_release(self, **changes: Any) -> None:
        """What was found out of the release while it was brought up."""
        self._pair = (self.service, adapters().services.change_release(self.release, **changes))

    def settled(self, service: Service, release: Release) -> None:
        """What its repository made of the release."""
        self._pair = (service, release)

    def source(self, number: int) -> Source:
        key = (number, len(self.job.plans))
        if key not in self._sources:
            self._sources[key] = _source_for(self.job, number)
        return self._sources[key]

    def say(self, message: str) -> None:
        """Show, in the job, what this step waits for."""
        step = self.job.steps[self.step].model_copy(update={"message": self.redactor.clean(message)})
        self.job = adapters().jobs.change(self.job, steps={**self.job.steps, self.step: step})

    def stop_if_told(self) -> None:
        """Raise `Cancelled` or `DeadlinePassed` if the job shall not go on. Looks again each time."""
        current = adapters().jobs.get(self.job.id)
        if current.cancel_requested:
            raise Cancelled("the job was cancelled")
        if current.deadline < now():
            raise DeadlinePassed(f"the job did not end by {current.deadline}")

    def detached(self, kind: str, command: Callable[[str], Command], failure: type[SlipwayError]) -> str:
        """Start (once) a detached job on the host and watch it; `waiting` while it runs, `done` when it ended well.

        A job that was lost (the host restarted) is started again under a new name, twice at most.
        """
        for attempt in range(1, 4):
            # What ran when the engine was lost may have been torn down with it: a resumed job tries anew.
            again = f"r{self.job.resumed}-" if self.job.resumed else ""
            # A repaired plan is other work under the same name.
            again += f"p{self.job.round}-" if self.job.round and kind != "rollback" else ""
            name = f"{self.job.id}.{kind}.{again}{attempt}"
            answer = self.ask(command(name))
            if answer["state"] != "lost":
                return self._watch(name, answer, failure)
        raise CommandFailed(f"{kind} was lost on the host three times: it restarts or kills our processes")

    def _watch(self, name: str, answer: dict[str, Any], failure: type[SlipwayError]) -> str:
        deadline = time.monotonic() + POLL_SECONDS
        while answer["state"] == "running":
            if self.step != "RollBack":
                try:
                    self.stop_if_told()
                except (Cancelled, DeadlinePassed):
                    self._keep_output(name, self.ask(kit.cancel(name)))
                    raise
            self._say_how_far(answer)
            if time.monotonic() > deadline:
                return "waiting"
            answer = self.ask(kit.job(name, wait_s=1, tail_lines=_OUTPUT_LINES))
        self._keep_output(name, answer)
        if answer["state"] == "done" and answer["rc"] == 0:
            self.result = answer.get("result") or {}
            return "done"
        lines = answer.get("output", "").strip().splitlines()[-_OUTPUT_LINES:]
        last = lines[-1] if lines else f"exit code {answer.get('rc')}"
        raise failure(last, {"exit_code": answer.get("rc"), "output": "\n".join(lines)})

    def _keep_output(self, name: str, answer: dict[str, Any]) -> None:
        """For those who ask for it when the host has forgotten it. A deploy does not fail for want of it."""
        output = answer.get("output", "")
        if not output:
            return
        try:
            kept.keep_output(
                self.job.id,
                name.removeprefix(f"{self.job.id}."),
                answer["started_at"],
                self.redactor.clean(output),
                truncated=answer["truncated"],
            )
        except Unavailable as error:
            log.warning("the output of %s could not be kept: %s", name, error.message)

    def _say_how_far(self, answer: dict[str, Any]) -> None:
        lines = answer.get("output", "").strip().splitlines()
        if lines and f"running: {lines[-1]}" != self.job.steps[self.step].message:
            self.say(f"running: {lines[-1]}")

    def event(self, kind: str, status: str, message: str) -> Event:
        return Event.model_validate(
            {
                "id": new_id("evt"),
                "type": kind,
                "status": status,
                "message": self.redactor.clean(message),
                "timestamp": now(),
                "job_id": self.job.id,
            }
        )


def redactor_of(job_id: str) -> Redactor:
    """For what a job prints, as it is printed."""
    job = adapters().jobs.get(job_id)
    service = adapters().services.find(job.service_id)
    if service is None:
        return Redactor(())
    return _remembered_redactor(job.id, service.release, job.pull, len(job.plans))


@lru_cache(maxsize=64)
def _remembered_redactor(job_id: str, running: int, _pull: tuple[str, ...], _plans: int) -> Redactor:
    """The same for every batch of its output: what it takes is sealed, and to unseal it costs a call."""
    job = adapters().jobs.get(job_id)
    return _redactor(job, running, logins_for(job.customer_id, job.pull) if job.pull else {})


def _redactor(job: Job, running: int, logins: dict[str, kit.Login]) -> Redactor:
    sources = [_source_for(job, number) for number in sorted({job.release, running} - {0})]
    secrets = [secret for source in sources for secret in secret_values(source.variables, source.secret_names)]
    secrets += [secret for source in sources for secret in source.credentials.secrets()]
    begun_from = {image for source in sources for build in source.builds for image in build.images}
    known = {**logins, **(logins_for(job.customer_id, begun_from) if begun_from else {})}
    return Redactor([*secrets, *(login["password"] for login in known.values())])


def _source_for(job: Job, number: int) -> Source:
    """What a release was made of; of the one that its job still plans, as it is by now."""
    if job.from_repository and number == job.release:
        return drafting.source_of(job.service_id, number)
    return _source(job.service_id, number)


@contextmanager
def attempt(step: str, job_id: str, previous_ended: str) -> Iterator[Work | None]:
    """Begin a step. None if the job is over already: a repeat of a step whose answer was lost.

    What the step raises is recorded, without secrets, before it goes to the workflow, which sees it too.
    """
    before = _in_hand.pop(job_id, None)
    job = _begin(before.job if before else adapters().jobs.get(job_id), step, previous_ended)
    if job is None:
        yield None
        return
    work = before.next(step, job) if before else Work(step, job)
    try:
        if step not in _ENDINGS:
            _go_on(job)
        yield work
        _hand_on(work)
    except SlipwayError as error:
        raise _recorded(work, error) from None
    except Exception as error:
        # A fault of ours. What it says may hold a secret, and Step Functions keeps what a function raises.
        log.error("job %s: %s: %s", job.id, step, work.redactor.clean(traceback.format_exc()))  # noqa: TRY400
        fault = SlipwayError(f"a fault in Slipway ({type(error).__name__} in {step}); its log says more")
        raise _recorded(work, fault) from None


def _begin(job: Job, step: str, previous_ended: str) -> Job | None:
    """The job with this step begun; None if it is over. What was in hand of it may be old: the write decides."""
    for _ in range(3):
        if job.is_over:
            return None
        try:
            return adapters().jobs.begin_step(
                job,
                step,
                previous_ended or None,
                up_began=step in _UP,
                keep_error=step in _ENDINGS or step == "Repair",
                after_failure=step in _AFTER_FAILURE or (step in ("RecordFailure", "Repair") and not job.up_began),
            )
        except (Lost, LeaseLost):  # somebody asked to cancel it in between, or ended it
            job = adapters().jobs.get(job.id)
    raise Lost(f"job {job.id} is being changed by others all the time")


def _hand_on(work: Work) -> None:
    """Keep what this step had in hand for the next one of its job. What it writes expects what it read, as ever."""
    if work.step not in _HANDED_ON:
        return
    if len(_in_hand) >= _MOST_IN_HAND:
        _in_hand.clear()  # of jobs that went on elsewhere
    _in_hand[work.job.id] = work


def _go_on(job: Job) -> None:
    if job.cancel_requested:
        raise Cancelled("the job was cancelled")
    if job.deadline < now():
        raise DeadlinePassed(f"the job did not end by {job.deadline}")


def _recorded(work: Work, error: SlipwayError) -> SlipwayError:
    """The error without secrets, kept in the job; of the same class, whose name the workflow matches."""
    clean = work.redactor.clean
    told = type(error)(clean(error.message), clean(error.details))
    log.warning(
        "job %s of request %s: %s: %s: %s",
        work.job.id,
        work.job.request_id or "none",
        work.step,
        type(told).__name__,
        told.message,
    )
    current = adapters().jobs.get(work.job.id)
    step = current.steps.get(work.step)
    if step and not current.is_over:
        failed = step.model_copy(update={"status": "failed", "ended_at": now(), "message": told.message})
        first = {"code": told.code, "message": told.message, "details": told.details, "step": work.step}
        adapters().jobs.change(
            current,
            steps={**current.steps, work.step: failed},
            error=current.error if work.step in _ENDINGS else first,
        )
    return told


# Releases are immutable and an unsealed one costs a call to KMS: a warm function keeps a few.
@lru_cache(maxsize=32)
def _source(service_id: str, number: int) -> Source:
    return drafting.source_of(service_id, number)
