"""The service and the customer that a request is about, if its caller may have them."""

from chalicelib.api.auth import must_see
from chalicelib.api.http import Request
from chalicelib.domain.errors import Conflict, NotFound, ValidationFailed
from chalicelib.domain.panel import Caller, Customer
from chalicelib.domain.service import Service
from chalicelib.domain.words import finding
from chalicelib.wiring import adapters


def service_of(service_id: str, caller: Caller) -> Service:
    service = adapters().services.get(service_id)
    must_see(caller, service.customer_id, "service")
    return service


def service_to_change(service_id: str, request: Request) -> Service:
    """The service, in the version that the caller wants changed; the write that follows expects this one."""
    service = service_of(service_id, request.caller)
    request.must_match(service.version)
    return service


def customer_to_deploy_for(customer_id: str, caller: Caller) -> Customer:
    """The customer a service is made for: one that exists, is the caller's to use, and is active."""
    unknown = ValidationFailed("no such customer", [finding("customer_id", "unknown", "there is no such customer")])
    if not caller.may_see(customer_id):
        raise unknown
    try:
        customer = adapters().customers.get(customer_id)
    except NotFound:
        raise unknown from None
    if customer.status == "suspended":
        raise Conflict("this customer is suspended, so nothing can be deployed for it")
    return customer
