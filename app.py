"""What Slipway answers to: REST calls, WebSockets, workflow steps, calls on hosts and the clock."""

import logging

from chalice import Chalice

from chalicelib.api import accounts, agent, audit, health, hosts, jobs, openapi, registries, templates
from chalicelib.api.http import in_our_shape
from chalicelib.api.services import changing, creating, history, lifecycle, listing, logs, showing
from chalicelib.api.sockets import sockets
from chalicelib.deploy.functions import functions

app = Chalice(app_name="slipway", configure_logs=False)
app.experimental_feature_flags.update(["WEBSOCKETS"])
logging.getLogger("slipway").setLevel(logging.INFO)
app.register_middleware(in_our_shape, "http")

_services = (listing, creating, showing, changing, lifecycle, history, logs)
for room in (*_services, jobs, hosts, accounts, registries, templates, audit, agent, health, openapi):
    app.register_blueprint(room.routes, url_prefix="/api")
app.register_blueprint(functions)
app.register_blueprint(sockets)
