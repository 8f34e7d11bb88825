"""A model beside the rules: it fills in what they cannot tell, and repairs a plan that failed.

The rules themselves are pure, and lie in `domain.planning` with everything that judges a model's answer; here is what
speaks to a provider, and what is asked. A model is never needed: without one, or when it fails, the plan is the rules'
and says so.
"""

from chalicelib.planning.asking import Model
from chalicelib.planning.providers import configured
from chalicelib.planning.refining import refine, repair

__all__ = ["Model", "configured", "refine", "repair"]
