"""/customers and /tokens: who owns services, and who may call."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from chalicelib.api import views
from chalicelib.api.auth import forget, must_see
from chalicelib.api.contract import Says
from chalicelib.api.http import Answer, Request, Routes, WireIn
from chalicelib.api.limits import merged
from chalicelib.api.pages import Paged
from chalicelib.api.versions import etag
from chalicelib.deploy.placing import promised_to, refuse_below_use
from chalicelib.deploy.upkeep import enforce_suspensions
from chalicelib.domain.errors import Changed, Conflict, NotFound, ValidationFailed
from chalicelib.domain.panel import Customer, CustomerLimits, Token, new_token
from chalicelib.domain.service import LEAST_CPU
from chalicelib.domain.words import Email, Time, Title, finding, new_id, now, parse_time, timestamp
from chalicelib.live import following
from chalicelib.wiring import adapters

routes = Routes(__name__)

_ATTEMPTS = 10  # of a change that others come before


def _holds_a_container(cpu: float) -> float:
    if 0 < cpu < LEAST_CPU:
        raise ValueError(f"must be 0 or at least {LEAST_CPU}, the least that a container can have")
    return cpu


class WantedCustomerLimits(WireIn):
    """What the customer may have in all; null: not limited. One that is left out stays as it is."""

    services: int | None = Field(default=None, ge=0, le=1_000_000)
    cpu: Annotated[float, AfterValidator(_holds_a_container)] | None = Field(default=None, ge=0, le=1_000_000)
    memory_mb: int | None = Field(default=None, ge=0, le=1_000_000_000_000)


class CreateCustomer(WireIn):
    name: Title
    email: Email | None = None
    limits: WantedCustomerLimits = WantedCustomerLimits()


class ChangeCustomer(WireIn):
    name: Title | None = None
    email: Email | None = None
    status: Literal["active", "suspended"] | None = None
    limits: WantedCustomerLimits | None = None


class CreateToken(WireIn):
    name: Title
    role: Literal["admin", "deployer", "viewer"]
    customer_id: str | None = Field(None, min_length=1, max_length=100)
    expires_at: Time | None = None
    requests_per_minute: int | None = Field(None, ge=0, le=1_000_000)


@routes.on("GET", "/customers", query=Paged, answers={200: views.CustomerPage})
def list_customers(request: Request) -> views.CustomerPage:
    """The customers that the caller may see, oldest first."""
    wanted = request.parameters(Paged)
    customers = [customer for customer in adapters().customers.all() if request.caller.may_see(customer.id)]
    customers.sort(key=lambda customer: customer.created_at)
    shown = _customer_views(wanted.of(customers))
    return views.CustomerPage(data=shown, total=len(customers), page=wanted.page, per_page=wanted.per_page)


@routes.on(
    "POST",
    "/customers",
    role="admin",
    body=CreateCustomer,
    answers={201: Says(views.Customer, ("Location", "ETag"))},
)
def create_customer(request: Request) -> Answer:
    """Add a customer, whom services are deployed for."""
    wanted = request.body(CreateCustomer)
    moment = now()
    customer = Customer(
        id=new_id("cust"),
        name=wanted.name,
        email=wanted.email,
        limits=merged(CustomerLimits(), wanted.limits),
        created_at=moment,
        updated_at=moment,
    )
    adapters().customers.add(customer)
    return Answer(_shown(customer), 201, {"Location": f"/api/customers/{customer.id}", **etag(customer.version)})


@routes.on("GET", "/customers/{customer_id}", answers={200: Says(views.Customer, ("ETag",))})
def get_customer(request: Request, customer_id: str) -> Answer:
    """One customer."""
    must_see(request.caller, customer_id, "customer")
    customer = adapters().customers.get(customer_id)
    return Answer(_shown(customer), headers=etag(customer.version))


@routes.on(
    "PATCH",
    "/customers/{customer_id}",
    role="admin",
    body=ChangeCustomer,
    conditional=True,
    answers={200: Says(views.Customer, ("ETag",))},
)
def change_customer(request: Request, customer_id: str) -> Answer:
    """Change a customer. The services of one that is suspended are stopped, and start again when it is active."""
    before, after = _changed(request, customer_id)
    if after.status != before.status:
        enforce_suspensions()
    return Answer(_shown(after), headers=etag(after.version))


@routes.on("DELETE", "/customers/{customer_id}", role="admin", conditional=True, answers={204: Says(None)})
def delete_customer(request: Request, customer_id: str) -> Answer:
    """Forget a customer that has no services; its tokens are revoked and its registry credentials forgotten."""
    customer = adapters().customers.get(customer_id)
    request.must_match(customer.version)
    living = sorted(row["id"] for row in adapters().services.rows() if row["customer_id"] == customer_id)
    if living:
        raise Conflict("this customer has services; delete them first", {"service_ids": living})
    # Nothing is deployed for it from here on; and if someone changed it meanwhile, its tokens still work.
    customer = adapters().customers.change(customer, status="suspended", updated_at=now())
    for token in adapters().tokens.all():
        if token.customer_id == customer_id and token.revoked_at is None:
            adapters().tokens.change(token, revoked_at=now())
            forget(token.id)
    # Before, so that what dies in between can be repeated; after, for one that was added in between.
    adapters().registries.remove_of(customer_id)
    adapters().customers.remove(customer)
    adapters().registries.remove_of(customer_id)
    return Answer(None, 204)


@routes.on("GET", "/tokens", role="admin", query=Paged, answers={200: views.TokenPage})
def list_tokens(request: Request) -> views.TokenPage:
    """The tokens, oldest first, revoked ones too; never a token's text."""
    wanted = request.parameters(Paged)
    tokens = sorted(adapters().tokens.all(), key=lambda token: token.created_at)
    shown = [_token_view(token) for token in wanted.of(tokens)]
    return views.TokenPage(data=shown, total=len(tokens), page=wanted.page, per_page=wanted.per_page)


@routes.on("POST", "/tokens", role="admin", body=CreateToken, answers={201: Says(views.NewToken, ("Location",))})
def create_token(request: Request) -> Answer:
    """A new token. Its text is in this answer and nowhere else."""
    wanted = request.body(CreateToken)
    _may_be_bound(wanted)
    expires_at = timestamp(parse_time(wanted.expires_at)) if wanted.expires_at else None
    if expires_at and expires_at <= now():
        raise ValidationFailed(
            "expires_at has passed", [finding("expires_at", "past", "choose a time that is to come")]
        )
    token, text = new_token(wanted.name, wanted.role, wanted.customer_id, expires_at, now(), wanted.requests_per_minute)
    adapters().tokens.add(token)
    told: views.NewToken = {**_token_view(token), "token": text}
    return Answer(told, 201, {"Location": f"/api/tokens/{token.id}"})


@routes.on("GET", "/tokens/{token_id}", role="admin", answers={200: views.Token})
def get_token(request: Request, token_id: str) -> views.Token:
    """One token's record, without its text."""
    return _token_view(adapters().tokens.get(token_id))


@routes.on("DELETE", "/tokens/{token_id}", role="admin", answers={204: Says(None)})
def revoke_token(request: Request, token_id: str) -> Answer:
    """Revoke a token: it stops working everywhere within 15 s, and its WebSockets end. Its record stays."""
    token = adapters().tokens.get(token_id)
    if token.revoked_at is None:
        adapters().tokens.change(token, revoked_at=now())
    forget(token_id)
    following.close_all(token_id)
    return Answer(None, 204)


def _changed(request: Request, customer_id: str) -> tuple[Customer, Customer]:
    """The customer as it was and as it is now. Fields merge, so whoever names no version lost to nobody: once more."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return _changed_as_read(request, customer_id)
        except Changed:
            if request.names_version:
                raise
    return _changed_as_read(request, customer_id)


def _changed_as_read(request: Request, customer_id: str) -> tuple[Customer, Customer]:
    customer = adapters().customers.get(customer_id)
    request.must_match(customer.version)
    wanted = request.body(ChangeCustomer)
    changes = wanted.model_dump(exclude_unset=True)
    if "limits" in changes:
        changes["limits"] = merged(customer.limits, wanted.limits) if wanted.limits else CustomerLimits()
    if changes.get("name", "") is None or changes.get("status", "") is None:
        raise ValidationFailed(
            "name and status cannot be null", [finding("name", "null", "leave out what stays as it is")]
        )
    if customer.model_copy(update=changes) == customer:
        return customer, customer
    if "limits" in changes:
        refuse_below_use(customer, changes["limits"])
    return customer, adapters().customers.change(customer, **changes, updated_at=now())


def _may_be_bound(wanted: CreateToken) -> None:
    if wanted.customer_id is None:
        return
    if wanted.role == "admin":
        message = "an admin sees everything; bind a deployer or a viewer to a customer"
        raise ValidationFailed(message, [finding("customer_id", "not-for-admins", message)])
    try:
        adapters().customers.get(wanted.customer_id)
    except NotFound:
        raise ValidationFailed(
            "no such customer", [finding("customer_id", "unknown", "there is no such customer")]
        ) from None


def _customer_views(customers: Sequence[Customer]) -> list[views.Customer]:
    """With what each has: one read for all."""
    promised = promised_to([customer.id for customer in customers])
    return [_customer_view(customer, promised[customer.id]) for customer in customers]


def _shown(customer: Customer) -> views.Customer:
    return _customer_views([customer])[0]


def _customer_view(customer: Customer, promised: Mapping[str, int]) -> views.Customer:
    limits = customer.limits
    return views.Customer(
        id=customer.id,
        name=customer.name,
        email=customer.email,
        status=customer.status,
        limits=views.CustomerLimits(
            services=limits.services,
            cpu=None if limits.cpu_millis is None else limits.cpu_millis / 1000,
            memory_mb=limits.memory_mb,
        ),
        usage=views.CustomerUsage(
            services=promised["services"], cpu=promised["cpu_millis"] / 1000, memory_mb=promised["memory_mb"]
        ),
        created_at=customer.created_at,
        updated_at=customer.updated_at,
    )


def _token_view(token: Token) -> views.Token:
    return views.Token(
        id=token.id,
        name=token.name,
        role=token.role,
        customer_id=token.customer_id,
        created_at=token.created_at,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
        requests_per_minute=token.requests_per_minute,
    )
