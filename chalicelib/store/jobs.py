"""Jobs: their items, the partition of those not over, and the writes by which a step announces itself."""

from collections.abc import Iterator
from typing import Any

from chalicelib.domain.errors import LeaseLost, NotFound, Unavailable
from chalicelib.domain.job import Job, Step
from chalicelib.domain.words import now
from chalicelib.store.records import attributes
from chalicelib.store.table import Key, Lost, Table, delete, put, update

_ATTEMPTS = 3


class JobStore:
    def __init__(self, table: Table) -> None:
        self._table = table

    def get(self, job_id: str) -> Job:
        """Raise `NotFound` if there is none or its 30 days are over."""
        item = self._table.get(key_of(job_id))
        if item is None:
            raise NotFound("no such job")
        return Job.model_validate(item)

    def is_over(self, job_id: str) -> bool:
        """Also where it is so long over that it is forgotten."""
        try:
            return self.get(job_id).is_over
        except NotFound:
            return True

    def unfinished(self) -> Iterator[Job]:
        """Every job that is not over."""
        for item in self._table.query("JOBS"):
            job = self.get(item["job_id"])
            if job.is_over:  # the end was written, but this entry outlived a crash
                self._table.write(delete(open_key(job.id)))
            else:
                yield job

    def begin_step(
        self, job: Job, name: str, previous_ended: str | None, *, up_began: bool, keep_error: bool, after_failure: bool
    ) -> Job:
        """Announce a step's attempt and take its fencing number: one write.

        Raise `LeaseLost` if the job is over: a late attempt must not go on.
        """
        # A step that could not record its own failure (it was killed, or timed out) is closed by the one after it.
        closed = {
            "status": "failed" if after_failure else "succeeded",
            "ended_at": now() if after_failure else previous_ended or now(),
        }
        steps = {
            earlier: step.model_copy(update=closed) if step.status == "running" and earlier != name else step
            for earlier, step in job.steps.items()
        }
        if name not in steps or steps[name].status != "running":
            steps[name] = Step(status="running", started_at=now())
        changed = job.model_copy(
            update={
                "status": "running",
                "steps": steps,
                "error": job.error if keep_error else None,
                "started_at": job.started_at or now(),
                "up_began": job.up_began or up_began,
                "fence": job.fence + 1,
                "version": job.version + 1,
            }
        )
        return self._save(job, changed)

    def change(self, job: Job, **changes: Any) -> Job:
        """The job with `changes`, whoever else changed other fields of it meanwhile (asked to cancel it, say)."""
        for _ in range(_ATTEMPTS):
            try:
                return self._save(job, job.model_copy(update={**changes, "version": job.version + 1}))
            except Lost:
                job = self.get(job.id)
        raise Unavailable(f"job {job.id} is being changed by others all the time")

    def close(self, job: Job) -> None:
        """End a job that belongs to nothing any more."""
        try:
            self._table.transact(*over(job))
        except Lost:
            self._table.write(delete(open_key(job.id)))

    def request_cancel(self, job_id: str) -> Job:
        """Ask the job to stop; a job that is over stays as it is."""
        try:
            item = self._table.write(
                update(
                    key_of(job_id),
                    {"cancel_requested": True},
                    "#status IN (:queued, :running)",
                    expressions=("version = version + :one",),
                    one=1,
                    queued="queued",
                    running="running",
                )
            )
        except Lost:
            return self.get(job_id)
        return Job.model_validate(item)

    def _save(self, job: Job, changed: Job) -> Job:
        try:
            self._table.write(
                put(
                    key_of(job.id),
                    attributes(changed),
                    "version = :seen AND #status IN (:queued, :running)",
                    seen=job.version,
                    queued="queued",
                    running="running",
                )
            )
        except Lost as error:
            current = self.get(job.id)
            if current.is_over:
                raise LeaseLost(f"job {job.id} is over: {current.status}") from error
            raise
        return changed


def over(job: Job) -> list[dict[str, Any]]:
    """The writes that end a job, given as it shall be: for a transaction."""
    return [
        put(
            key_of(job.id),
            attributes(job),
            "#status IN (:queued, :running)",
            queued="queued",
            running="running",
        ),
        delete(open_key(job.id)),
    ]


def key_of(job_id: str) -> Key:
    return (f"JOB#{job_id}", "META")


def open_key(job_id: str) -> Key:
    return ("JOBS", job_id)
