"""What a signature covers, whose it may be, and how long it holds."""

from __future__ import annotations

import ast
import contextlib
import inspect
import json
import logging
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from celeriac.config import Settings
from celeriac.errors import ConfigurationError, PayloadError
from celeriac.signals import signing
from celeriac.signals.messages import MAX_ID, ChannelMessage, NotASignal, read_message
from celeriac.signals.refusals import INTERVAL, Refusals
from celeriac.signals.signing import Guard, Refusal, Unauthorized, canonical, sign_message

SECRET = "a secret of the shop's"
NOW = 1_800_000_000

LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\0"), max_size=30)
"""What a part that is signed may be."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def signed(**parts: Any) -> str:
    given = {
        "namespace": "shop",
        "workflow_id": "order-A-17",
        "name": "approved",
        "sent_at": NOW,
        "id": "7f3a",
        **parts,
    }
    return sign_message(given.pop("secret", SECRET), **given)


def guard(*secrets: str, at: float = NOW, max_age: float = 300, namespace: str = "shop") -> Guard:
    return Guard(namespace, secrets or (SECRET,), max_age, clock=lambda: at)


def refusal(text: str, guard: Guard) -> tuple[Refusal, str]:
    """Return why a message is refused."""
    with pytest.raises(Unauthorized) as caught:
        guard.check(read_message(text))
    return caught.value.refusal, str(caught.value)


def test_what_is_signed_is_written_down() -> None:
    text = canonical("shop", "order-A-17", "approved", "7f3a", "till 3", NOW, '{"cents": 4200}')
    assert text == b'celeriac-signal-1\nshop\norder-A-17\napproved\n7f3a\ntill 3\n1800000000\n{"cents": 4200}'
    assert json.loads(signed(payload=True)) == {
        "workflow_id": "order-A-17",
        "name": "approved",
        "payload_json": "true",
        "id": "7f3a",
        "sent_at": NOW,
        "signature": "28f90ffa991ef78cdcd7a953d03722a6848c28b5f677042c4c31dd449b2577b9",
    }


@given(workflow_id=LINES, name=LINES, sender_id=LINES, id=LINES.filter(bool), payload=JSON)
def test_what_was_signed_comes_through_as_it_was(**parts: Any) -> None:
    message = read_message(signed(**parts))
    guard().check(message)
    assert (message.workflow_id, message.name) == (parts["workflow_id"], parts["name"])
    assert (message.id, message.sender_id) == (parts["id"], parts["sender_id"])
    from celeriac.payloads import restore

    assert restore(message.payload) == parts["payload"]


@given(data=st.data())
def test_whatever_is_changed_is_found_out(data: st.DataObject) -> None:
    said = json.loads(signed(payload={"cents": 4200}, sender_id="till 3"))
    part = data.draw(st.sampled_from([*said, "namespace"]))
    if part == "namespace":
        other = data.draw(LINES)
        assume(other != "shop")
        assert refusal(json.dumps(said), guard(namespace=other))[0] is Refusal.FORGED
        return
    put = {"sent_at": st.integers(NOW - 300, NOW + 300), "payload_json": JSON.map(json.dumps)}.get(part, LINES)
    changed = {**said, part: data.draw(put.filter(lambda each: each != said[part]))}
    try:
        message = read_message(json.dumps(changed))
    except NotASignal:
        return
    with pytest.raises(Unauthorized) as caught:
        guard().check(message)
    assert caught.value.refusal is Refusal.FORGED


PARTS = st.tuples(*[st.text("1\n", max_size=3)] * 4)


@given(PARTS, PARTS, st.text("1\n", max_size=5), st.text("1\n", max_size=5))
def test_no_two_messages_are_signed_as_the_same_text(
    one: tuple[str, str, str, str], other: tuple[str, str, str, str], payload: str, another: str
) -> None:
    assume((one, payload) != (other, another))
    try:
        assert canonical("shop", *one, 1, payload) != canonical("shop", *other, 1, another)
    except ValueError as error:
        assert "has a line feed" in str(error)  # noqa: PT017 - both outcomes are right


@pytest.mark.parametrize("part", ["workflow_id", "name", "id", "sender_id", "namespace"])
def test_a_line_feed_could_move_words_from_one_part_to_the_next(part: str) -> None:
    with pytest.raises(ValueError, match="has a line feed, which can't be signed"):
        signed(**{part: "a\nb"})
    if part != "namespace":
        said = {**json.loads(signed()), part: "a\nb"}
        assert refusal(json.dumps(said), guard()) == (
            Refusal.FORGED,
            "'a\\nb' has a line feed, which can't be signed",
        )


@pytest.mark.parametrize("missing", ["signature", "id", "sent_at", "payload_json"])
def test_a_message_that_lacks_a_part_is_not_signed(missing: str) -> None:
    said = json.loads(signed())
    del said[missing]
    told = "it is not signed" if missing == "signature" else f"it is signed, but has no {missing}"
    assert refusal(json.dumps(said), guard()) == (Refusal.UNSIGNED, told)


def test_a_payload_beside_the_signed_one_is_refused() -> None:
    said = {**json.loads(signed(payload=False)), "payload": True}
    with pytest.raises(NotASignal, match="both a payload and a payload_json"):
        read_message(json.dumps(said))


def test_secrets_are_changed_one_side_at_a_time() -> None:
    old, new = "the old secret of the shop's", "the new secret of the shop's"
    both = guard(new, old)
    both.check(read_message(signed(secret=old)))
    both.check(read_message(signed(secret=new)))
    assert refusal(signed(secret=old), guard(new)) == (
        Refusal.FORGED,
        "its signature is not by one of the signal_secrets",
    )


@pytest.mark.parametrize("apart", [-300, 0, 300])
def test_a_message_holds_as_long_as_it_may(apart: int) -> None:
    guard(at=NOW + apart).check(read_message(signed()))


@pytest.mark.parametrize(
    ("apart", "told"),
    [
        (301, "it was signed 301 s ago, and signal_max_age is 300 s (are the clocks right?)"),
        (-301, "it was signed 301 s from now, and signal_max_age is 300 s (are the clocks right?)"),
    ],
)
def test_a_message_too_old_or_from_the_future_is_stale(apart: int, told: str) -> None:
    assert refusal(signed(), guard(at=NOW + apart)) == (Refusal.STALE, told)


def test_a_signature_that_is_no_hexadecimal_number_is_a_wrong_one() -> None:
    for signature in ("", "x" * 64, "é" * 64, json.loads(signed())["signature"].upper()):
        assert refusal(json.dumps({**json.loads(signed()), "signature": signature}), guard())[0] is Refusal.FORGED


def test_signatures_are_compared_in_a_time_that_tells_nothing() -> None:
    calls = [each for each in ast.walk(ast.parse(inspect.getsource(signing))) if isinstance(each, ast.Call)]
    assert sum(ast.unparse(each.func) == "hmac.compare_digest" for each in calls) == 1
    compared = [each for each in ast.walk(ast.parse(inspect.getsource(Guard))) if isinstance(each, ast.Compare)]
    assert not any("sign" in ast.unparse(each) and "None" not in ast.unparse(each) for each in compared)


def test_each_message_has_an_id_and_the_time_unless_it_is_told() -> None:
    first, second = (read_message(sign_message(SECRET, namespace="shop", workflow_id="a", name="b")) for _ in range(2))
    assert first.id
    assert first.id != second.id
    Guard("shop", [SECRET], 60).check(first)


def test_a_payload_that_can_not_be_recorded_is_not_signed() -> None:
    with pytest.raises(PayloadError, match="payload of signal 'approved'"):
        signed(payload=object())


# -- what is a signal --------------------------------------------------------------------------------------------------

GOOD = {"workflow_id": "order-A-17", "name": "approved"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ("[]", "it is no JSON object"),
        ('{"workflow_id": 1, "name": "x"}', "workflow_id and name must be strings"),
        (json.dumps({**GOOD, "payload": float("nan")}), "JSON has no NaN"),
        (json.dumps({**GOOD, "payload_json": "-Infinity"}), "JSON has no -Infinity"),
        (json.dumps({**GOOD, "payload_json": 1}), "payload_json must be a string"),
        (json.dumps({**GOOD, "sent_at": 1.5}), "sent_at must be a whole number"),
        (json.dumps({**GOOD, "sent_at": True}), "sent_at must be a whole number"),
        (json.dumps({**GOOD, "signature": ["x"]}), "signature must be a string"),
        (json.dumps({**GOOD, "id": {"a": 1}}), "id must be a string"),
        (json.dumps({**GOOD, "id": True}), "id must be a string"),
        (json.dumps({**GOOD, "id": ""}), f"id must have 1 to {MAX_ID} characters"),
        (json.dumps({**GOOD, "id": "x" * (MAX_ID + 1)}), f"id must have 1 to {MAX_ID} characters"),
        (json.dumps({**GOOD, "id": "a\0b"}), "id has a NUL character"),
        (json.dumps({**GOOD, "name": "\ud800"}), "name has half of a surrogate pair"),
        (json.dumps({**GOOD, "workflow_id": "\0"}), "workflow_id has a NUL character"),
        (
            '{"workflow_id": "a", "name": "b", "payload": ' + "[" * 100_000 + "]" * 100_000 + "}",
            "it is nested too deeply",
        ),
        (
            '{"workflow_id": "a", "name": "b", "payload": ' + "[" * 250 + "]" * 250 + "}",
            "it is nested more than 200 levels deep",
        ),
    ],
)
def test_what_is_no_signal_is_told_why(text: str, told: str) -> None:
    with pytest.raises(NotASignal) as caught:
        read_message(text)
    assert str(caught.value) == told


def test_a_number_of_thousands_of_digits_is_no_signal() -> None:
    with pytest.raises(NotASignal, match="Exceeds the limit"):
        read_message('{"workflow_id": "a", "name": "b", "payload": ' + "1" * 5000 + "}")


@given(st.text() | JSON.map(json.dumps))
def test_any_text_is_a_signal_or_none_and_nothing_else_happens(text: str) -> None:
    with contextlib.suppress(NotASignal):
        assert isinstance(read_message(text), ChannelMessage)


def test_a_number_will_do_as_an_id() -> None:
    assert read_message(json.dumps({**GOOD, "id": 7})).id == "7"
    assert read_message(json.dumps(GOOD)) == ChannelMessage("order-A-17", "approved")


# -- how they are told of ----------------------------------------------------------------------------------------------


def test_refusals_are_counted_and_told_of_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    refusals = Refusals("celeriac:shop:signals", clock=lambda: now)
    with caplog.at_level(logging.WARNING, "celeriac.signals"):
        for _ in range(1000):
            refusals.add(Refusal.UNSIGNED, "it is not signed")
        refusals.add(Refusal.STALE, "it was signed yesterday")
        now = INTERVAL
        refusals.add(Refusal.FORGED, "its signature is wrong")
        refusals.add(Refusal.FORGED, "its signature is wrong")
    assert refusals.counts == {"unsigned": 1000, "stale": 1, "forged": 2}
    assert caplog.messages == [
        "a message on celeriac:shop:signals was refused: it is not signed",
        "a message on celeriac:shop:signals was refused: its signature is wrong; 1,000 more since the last such line",
    ]


# -- the settings ------------------------------------------------------------------------------------------------------


def test_secrets_are_listed_in_code_and_have_commas_between_them_in_the_environment() -> None:
    one, other = "x" * 16, "y" * 16
    assert Settings.load(env={}, signal_secrets=[one, other]).signal_secrets == (one, other)
    assert Settings.load(env={"CELERIAC_SIGNAL_SECRETS": f"{one}, {other}"}).signal_secrets == (one, other)
    assert Settings.load({"celeriac_signal_secrets": (one,)}, env={}).signal_secrets == (one,)


@pytest.mark.parametrize("secrets", ["short", ["x" * 15], [b"x" * 16], [], 7, ["x" * 16, ""], ["\ud800" * 16]])
def test_what_is_no_secret_is_refused_and_not_shown(secrets: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"^signal_secrets: (have 16 characters|are a list|are texts)"
    ) as caught:
        Settings.load(env={}, signal_secrets=secrets)
    assert "short" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    settings = Settings.load(env={}, signal_secrets=[SECRET])
    assert SECRET not in repr(settings)
    from celery import Celery

    app = Celery("shop", set_as_current=False)
    app.conf.celeriac_signal_secrets = [SECRET]
    assert SECRET not in str(app.conf.table(with_defaults=False, censored=True))
    assert SECRET not in app.bugreport()
