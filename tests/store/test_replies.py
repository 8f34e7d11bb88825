"""Kept answers: a key is taken once, comes free again by itself, and is settled by its holder alone."""

import time

from chalicelib.store.replies import CLAIM_SECONDS, KEPT_SECONDS, ReplyStore
from tests.api.crowd import all_at_once
from tests.emulator import Panel


def test_of_many_at_once_one_gets_the_key(panel: Panel) -> None:
    store = panel.replies

    claims = all_at_once([lambda: store.take("tok_a", "k", "same")] * 20)

    assert len([claim for claim in claims if claim]) == 1


def test_a_key_belongs_to_its_token(panel: Panel) -> None:
    assert panel.replies.take("tok_a", "k", "same")
    assert panel.replies.take("tok_b", "k", "same")
    assert not panel.replies.take("tok_a", "k", "same")


def test_a_key_with_any_printable_character_is_kept_apart_from_others(panel: Panel) -> None:
    assert panel.replies.take("tok_a", "b#c", "same")
    assert panel.replies.find("tok_a", "b") is None


def test_a_kept_answer_is_found_until_its_time_is_over(panel: Panel) -> None:
    claim = panel.replies.take("tok_a", "k", "same")
    assert claim
    panel.replies.keep(claim, b"sealed")

    held = panel.replies.find("tok_a", "k")

    assert held
    assert (held.is_over, held.sealed, held.fingerprint) == (True, b"sealed", "same")
    a_day_later = later(panel, KEPT_SECONDS + 1)
    assert a_day_later.find("tok_a", "k") is None
    assert a_day_later.take("tok_a", "k", "other")


def test_a_released_key_is_free(panel: Panel) -> None:
    claim = panel.replies.take("tok_a", "k", "same")
    assert claim

    panel.replies.release(claim)

    assert panel.replies.find("tok_a", "k") is None
    assert panel.replies.take("tok_a", "k", "same")


def test_a_claim_that_ended_settles_nothing(panel: Panel) -> None:
    late = panel.replies.take("tok_a", "k", "same")
    assert late
    taken_over = later(panel, CLAIM_SECONDS + 1).take("tok_a", "k", "same")
    assert taken_over
    panel.replies.keep(taken_over, b"second")

    panel.replies.keep(late, b"first")
    panel.replies.release(late)

    held = panel.replies.find("tok_a", "k")
    assert held
    assert held.sealed == b"second"


def later(panel: Panel, seconds: float) -> ReplyStore:
    """The store as a process sees it by then."""
    return ReplyStore(panel.table, lambda: time.time() + seconds)
