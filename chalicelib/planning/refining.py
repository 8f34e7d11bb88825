"""The model's part in a plan: asked once or twice, judged, and otherwise left out, with a reason that says so."""

import logging
from collections.abc import Callable

from chalicelib.domain import planning
from chalicelib.domain.errors import CannotPlan, ModelFailed, ValidationFailed
from chalicelib.domain.planning import BuildPlan, Tree
from chalicelib.domain.planning import proposal as proposals
from chalicelib.domain.planning.proposal import Proposal
from chalicelib.domain.redaction import Redactor
from chalicelib.planning import questions
from chalicelib.planning.asking import MOST_ANSWERED, Model, Question

log = logging.getLogger("slipway.planning")

NO_MODEL = "no model is configured: planned by the rules alone"
_TRIES = 2  # a malformed answer is told so once; a refused one is not
_CHARACTERS_A_TOKEN = 3  # at the least, of what is asked here
_NO_SECRETS = Redactor(())


def refine(tree: Tree, plan: BuildPlan | None, model: Model | None, *, redactor: Redactor = _NO_SECRETS) -> BuildPlan:
    """The rules' plan with what they had to assume told by the model, or a plan where they have none.

    `tree` is the folder that is deployed, and `redactor` knows the service's secrets, should the repository hold one.
    Without a model, and whatever the model does, a plan of the rules stands. Raise `CannotPlan` where they have none
    and the model has neither.
    """
    if plan is None:
        return _planned(tree, model, redactor)
    if model is None:
        return plan.because(NO_MODEL)
    if not plan.assumed:
        return plan.because("the rules could tell everything: the model was not asked")
    question = questions.to_fill_in(tree, plan, redactor)
    return _asked(model, question, plan, lambda said: proposals.filled_in(said, tree, plan))


def repair(
    tree: Tree,
    plan: BuildPlan,
    failure_tail: str,
    number: int,
    model: Model | None,
    *,
    redactor: Redactor = _NO_SECRETS,
) -> BuildPlan:
    """The plan changed after a failed build or start; the same, with a reason, where nothing is left to try.

    `plan.builds_like` tells which. `number` is the round, from one. Nothing is kept between calls: the tokens of all
    of them stand in the plan.
    """
    if model is None:
        return plan.because(NO_MODEL)
    if number > model.max_rounds:
        return plan.because(f"{model.max_rounds} repairs were tried: the model was not asked again")
    question = questions.to_repair(tree, plan, failure_tail, redactor)
    return _asked(model, question, plan, lambda said: proposals.replaced(said, tree, plan))


def _planned(tree: Tree, model: Model | None, redactor: Redactor) -> BuildPlan:
    try:
        return refine(tree, planning.plan(tree), model, redactor=redactor)
    except CannotPlan as error:
        if model is None:
            raise CannotPlan(f"{error.message}; {NO_MODEL}", error.details) from None
        spent = BuildPlan(kind="detected", stack="", compose="")
        question = questions.to_plan(tree, redactor)
        told = _asked(model, question, spent, lambda said: proposals.replaced(said, tree, None))
        if told.builds_like(spent):
            raise CannotPlan(f"{error.message}; {told.reasons[-1]}", error.details) from None
        return told


def _asked(model: Model, question: Question, before: BuildPlan, taken: Callable[[Proposal], BuildPlan]) -> BuildPlan:
    """What is taken of the model's answer; the plan as it was, with a reason, where nothing can be."""
    tokens = 0
    refused = ""
    for _ in range(_TRIES):
        asked = questions.again(question, refused) if refused else question
        if before.tokens_used + tokens + _cost(asked) > model.max_tokens:
            return _left(before, f"the deploy's {model.max_tokens} tokens of the model are used", tokens)
        try:
            answer = model.provider.ask(asked)
            tokens += answer.tokens or _cost(asked)
            said = proposals.read(answer.arguments)
        except ModelFailed as error:
            return _left(before, error.message, tokens)
        except ValidationFailed as error:
            refused = "; ".join(f"{item['path']}: {item['message']}" for item in error.details)
            continue
        try:
            told = taken(said)
        except ValidationFailed as error:
            return _left(before, error.message, tokens)
        return told.model_copy(update={"tokens_used": before.tokens_used + tokens})
    return _left(before, f"the model's answers are not of the shape that was asked for ({refused[:200]})", tokens)


def _left(before: BuildPlan, why: str, tokens: int) -> BuildPlan:
    log.info("a model was of no use: %s", why)
    return before.because(f"{why}: the plan stays as it was", tokens=tokens)


def _cost(question: Question) -> int:
    """What a question may take, reckoned high."""
    return (len(question.instructions) + len(question.text)) // _CHARACTERS_A_TOKEN + MOST_ANSWERED
