"""Address lists: the forms of RFC 5322, and what is not one but must not be hidden."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harakapy.mail.mailbox import Mailbox, parse_mailboxes

Shown = tuple[str, str | None]


def shown(text: str) -> list[Shown]:
    """Name and address of each entry, None for what cannot be read."""
    return [(box.name, None if box.address is None else str(box.address)) for box in parse_mailboxes(text)]


@pytest.mark.parametrize(
    ("text", "mailboxes"),
    [
        ("a@example.com", [("", "a@example.com")]),
        ("<a@example.com>", [("", "a@example.com")]),
        ("Jane Roe <jane@Example.COM>", [("Jane Roe", "jane@example.com")]),
        ("John Q. Public <j@b.example>", [("John Q. Public", "j@b.example")]),
        ('"Roe, Jane" <j@b.example>', [("Roe, Jane", "j@b.example")]),
        (r'"Giant; \"Big\" Box" <j@b.example>', [('Giant; "Big" Box', "j@b.example")]),
        ("a@b.example (Jane (the one) Roe)", [("Jane (the one) Roe", "a@b.example")]),
        ("=?utf-8?q?J=C3=B6rg?= <j@b.example>", [("Jörg", "j@b.example")]),
        ("=?utf-8?q?Roe,_Jane:_CEO.?= <j@b.example>", [("Roe, Jane: CEO.", "j@b.example")]),
        ("a@b.example, c@d.example", [("", "a@b.example"), ("", "c@d.example")]),
        ("a@b.example; c@d.example", [("", "a@b.example"), ("", "c@d.example")]),
        ("a@b.example, , c@d.example,", [("", "a@b.example"), ("", "c@d.example")]),
        (
            "Team: a@b.example, C <c@d.example>;, e@f.example",
            [("", "a@b.example"), ("C", "c@d.example"), ("", "e@f.example")],
        ),
        ("Undisclosed recipients:(none);", []),
        ("", []),
        ("(nobody)", []),
        ('"a b"@c.example', [("", '"a b"@c.example')]),
        ("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", [("Pete", "pete@silly.test")]),
        ("Mary Smith <@node.test:mary@example.net>", [("Mary Smith", "mary@example.net")]),
        ("a . b @ c . example", [("", "a.b@c.example")]),
        ("x@[192.0.2.1]", [("", "x@[192.0.2.1]")]),
        ("jörg@bücher.example", [("", "jörg@bücher.example")]),
    ],
)
def test_lists_are_read(text: str, mailboxes: list[Shown]) -> None:
    assert shown(text) == mailboxes


@pytest.mark.parametrize(
    ("text", "mailboxes"),
    [
        ("not an address", [("", None)]),
        ("a b@c.example", [("", None)]),
        ("a@b@c.example", [("", None)]),
        ("postmaster", [("", None)]),
        ("<>", [("", None)]),
        ("Jane <jane@b.example", [("Jane", None)]),
        ("jane@b.example>", [("", None)]),
        ("a@b.example <c@d.example> <e@f.example>", [("a@b.example", None)]),
        ("<a@b.example, c@d.example>", [("", None)]),
        ("evil@b.example: good@d.example", [("", "evil@b.example"), ("", "good@d.example")]),
        ("good@b.example <evil@d.example>", [("good@b.example", "evil@d.example")]),
        ('"never closed <a@b.example>', [("", None)]),
        ("a@b.example, (never closed", [("", "a@b.example")]),
        ("[never closed", [("", None)]),
        ("=?utf-8?q?<evil@b.example>?= <good@d.example>", [("=?utf-8?q?", None)]),
        ("><a@b.example", [(">", None)]),
    ],
)
def test_what_is_no_mailbox_is_not_hidden(text: str, mailboxes: list[Shown]) -> None:
    assert shown(text) == mailboxes


def test_the_text_of_an_entry_is_kept() -> None:
    assert [box.text for box in parse_mailboxes(' "A" <a@b.example> , what is this ')] == [
        '"A" <a@b.example>',
        "what is this",
    ]
    assert parse_mailboxes("huh") == (Mailbox("", None, "huh"),)


@given(st.one_of(st.text(), st.text('"\\()<>[]@,:;. a\t=?')))
def test_reading_never_fails_and_hides_nothing(text: str) -> None:
    boxes = parse_mailboxes(text)
    assert all(box.text for box in boxes)
    assert "".join(box.text for box in boxes).count("@") <= text.count("@")


@pytest.mark.parametrize(
    "piece", ['"', '"\\', "(", "[", "<", "@", ":", ",", "\\", "a ", " ", ". ", "=?", "=?a?q?", "<a@b>,"]
)
def test_time_is_linear(piece: str) -> None:
    text = piece * (100_000 // len(piece))  # as much as a header may have by default
    started = time.perf_counter()
    parse_mailboxes(text)
    assert time.perf_counter() - started < 5  # quadratic would take minutes
