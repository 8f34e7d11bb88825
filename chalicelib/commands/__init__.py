"""What Slipway types on a host, as values. Nothing runs here."""

from chalicelib.commands.command import Command

__all__ = ["Command"]
