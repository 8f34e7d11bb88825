"""Putting Slipway into an AWS account: `python -m infra.deploy up --stage prod`."""
