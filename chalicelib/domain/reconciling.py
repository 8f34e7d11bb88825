"""What is told of a service whose containers are not what its status says: pure, so that it is a table in tests."""

from chalicelib.domain.service import Service, Status


def corrected(service: Service, seen: Status, missing: str = "") -> tuple[Status, str] | None:
    """The status that the host's containers amount to and why, or None where the status is true.

    `missing` says which containers are not there.

    Only what a release left is judged: a service whose first deploy failed is `failed` though its containers are
    stopped, and one that deploys is the deploy's to tell.
    """
    if not service.release or service.status in ("deploying", seen):
        return None
    if service.status == "running":
        what = "its containers are not running" if seen == "stopped" else "a container ended or keeps crashing"
        return "failed", f"{missing or what} on the host, though nobody stopped the service"
    if service.status == "stopped":
        if seen == "running":
            return "running", "its containers were started on the host"
        return None
    if seen == "running":
        return "running", "its containers run again"
    return None
