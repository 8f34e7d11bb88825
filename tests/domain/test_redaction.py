"""Secrets leave no trace in text, in any of the forms they take on their way."""

import base64
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from chalicelib.domain.redaction import SHOWN, Redactor, looks_secret, secret_values

SECRET = "s3cr/et+value=ä"


def test_a_secret_is_replaced_wherever_it_stands() -> None:
    clean = Redactor([SECRET]).clean

    assert clean({"a": [f"x {SECRET} y"], "b": 1}) == {"a": [f"x {SHOWN} y"], "b": 1}


@given(
    st.binary(max_size=5),
    st.text(alphabet=st.characters(codec="utf-8"), min_size=8, max_size=40),
    st.binary(max_size=5),
)
def test_its_base64_does_not_survive_inside_a_longer_one(before: bytes, secret: str, after: bytes) -> None:
    text = base64.b64encode(before + secret.encode() + after).decode()

    assert SHOWN in Redactor([secret]).clean(text)


def test_url_encoded_forms_are_replaced() -> None:
    assert Redactor([SECRET]).clean(f"https://x/?p={quote(SECRET, safe='')}") == f"https://x/?p={SHOWN}"


def test_short_values_are_left_since_they_would_blot_out_words() -> None:
    assert Redactor(["no"]).clean("nothing") == "nothing"


def test_names_that_people_give_to_secrets() -> None:
    names = ("DB_PASSWORD", "API_KEY", "apikey", "STRIPE_KEY", "TOKEN_X", "KEYBOARD", "PORT")

    assert [name for name in names if not looks_secret(name)] == ["KEYBOARD", "PORT"]
    assert secret_values({"A": "1", "B": "2", "PASSWORD": "3"}, ["B"]) == ["2", "3"]
