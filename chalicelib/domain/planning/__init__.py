"""From a repository's tree to a plan, by rules: how it is built and run, and what was seen that says so.

Pure: whoever reads a repository on a host gives the `Tree`, and whoever builds gets a `BuildPlan`. A compose file is
the author's last word and comes first, then a Dockerfile; only then the stacks are looked for. `chalicelib.planning`
has a model fill in what these rules cannot tell.
"""

from chalicelib.domain.planning.build_plan import DOCKERFILE, SERVICE, BuildPlan, Given, Kind
from chalicelib.domain.planning.rules import plan
from chalicelib.domain.planning.tree import DEEPEST, WANTED, Tree

__all__ = ["DEEPEST", "DOCKERFILE", "SERVICE", "WANTED", "BuildPlan", "Given", "Kind", "Tree", "plan"]
