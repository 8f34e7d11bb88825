"""Why a deploy stops."""


class DeployError(Exception):
    """Said in one line to whoever deploys: what, where, and what to do. Nothing half done is left behind it."""
