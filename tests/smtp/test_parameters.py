"""ESMTP parameters: typed values, refusals, and the way back to the wire."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from harakapy.smtp.address import NULL_PATH, Address
from harakapy.smtp.errors import LocalProtocolError, RemoteProtocolError
from harakapy.smtp.parameters import (
    NO_MAIL_PARAMETERS,
    NO_RCPT_PARAMETERS,
    Body,
    DeliverBy,
    MailParameters,
    Notify,
    OriginalRecipient,
    RcptParameters,
    Ret,
    decode_xtext,
    encode_xtext,
)

EVERYTHING = frozenset(
    {"SIZE", "8BITMIME", "BINARYMIME", "SMTPUTF8", "DSN", "AUTH", "REQUIRETLS", "DELIVERBY", "MT-PRIORITY"}
    | {"FUTURERELEASE", "PIPELINING", "CHUNKING", "XFOO"}
)
PRINTABLE_ASCII = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20)
PRINTABLE = st.text(
    st.characters(min_codepoint=32, exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=20
)
EXTRA = st.sampled_from([(), (("XFOO", None),), (("XFOO", "a+b"),)])
DELIVER_BY = st.one_of(
    st.builds(DeliverBy, st.integers(-999_999_999, 999_999_999), st.just("N"), st.booleans()),
    st.builds(DeliverBy, st.integers(1, 999_999_999), st.just("R"), st.booleans()),
)
RELEASE: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.integers(1, 999_999_999).map(lambda seconds: {"hold_for": seconds}),
    st.datetimes(timezones=st.just(UTC)).map(lambda time: {"hold_until": time}),
)
MAIL_PARAMETERS = st.builds(
    lambda release, **fields: MailParameters(**release, **fields),
    RELEASE,
    size=st.none() | st.integers(0, 10**20 - 1),
    body=st.none() | st.sampled_from(Body),
    smtputf8=st.booleans(),
    ret=st.none() | st.sampled_from(Ret),
    envid=st.none() | PRINTABLE_ASCII,
    auth=st.none() | st.just(NULL_PATH) | st.builds(Address, PRINTABLE, st.just("example.com")),
    requiretls=st.booleans(),
    by=st.none() | DELIVER_BY,
    mt_priority=st.none() | st.integers(-9, 9),
    extra=EXTRA,
)
NOTIFY = st.just(frozenset({Notify.NEVER})) | st.frozensets(
    st.sampled_from([Notify.SUCCESS, Notify.FAILURE, Notify.DELAY]), min_size=1
)
ORIGINAL_RECIPIENTS = st.one_of(
    st.builds(OriginalRecipient, st.sampled_from(["rfc822", "x400", "x-y"]), PRINTABLE_ASCII),
    st.builds(OriginalRecipient, st.just("utf-8"), PRINTABLE),
)
RCPT_PARAMETERS = st.builds(
    RcptParameters, notify=st.none() | NOTIFY, orcpt=st.none() | ORIGINAL_RECIPIENTS, extra=EXTRA
)


def mail(text: str) -> MailParameters:
    return MailParameters.parse(text, extensions=EVERYTHING)


def rcpt(text: str, *, utf8: bool = False) -> RcptParameters:
    return RcptParameters.parse(text, extensions=EVERYTHING, utf8=utf8)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("", {}),
        ("  ", {}),
        ("SIZE=0", {"size": 0}),
        ("size=00012", {"size": 12}),
        ("SIZE=99999999999999999999", {"size": 10**20 - 1}),
        ("BODY=7BIT", {"body": Body.SEVENBIT}),
        ("Body=8bitmime", {"body": Body.EIGHTBITMIME}),
        ("BODY=BINARYMIME", {"body": Body.BINARYMIME}),
        ("SMTPUTF8", {"smtputf8": True}),
        ("SIZE=1  BODY=8BITMIME   SMTPUTF8 ", {"size": 1, "body": Body.EIGHTBITMIME, "smtputf8": True}),
        ("RET=FULL", {"ret": Ret.FULL}),
        ("RET=hdrs", {"ret": Ret.HDRS}),
        ("ENVID=QQ314159", {"envid": "QQ314159"}),
        ("ENVID=a+2Bb+3Dc+20d", {"envid": "a+b=c d"}),
        ("ENVID=" + "a" * 100, {"envid": "a" * 100}),
        ("AUTH=<>", {"auth": NULL_PATH}),
        ("AUTH=" + "a" * 500, {"auth": NULL_PATH}),
        ("AUTH=e+3Dmc2@example.com", {"auth": Address("e=mc2", "example.com")}),
        ("AUTH=+C3+BC@example.com", {"auth": Address("ü", "example.com")}),
        # What is no mailbox is as good as "not known"; nobody trusts it either way.
        ("AUTH=+3D", {"auth": NULL_PATH}),
        ("AUTH=a+0D+0AX-Inject:1@b", {"auth": NULL_PATH}),
        ("REQUIRETLS", {"requiretls": True}),
        ("BY=120;R", {"by": DeliverBy(120, "R")}),
        ("BY=+120;rt", {"by": DeliverBy(120, "R", trace=True)}),
        ("BY=0;N", {"by": DeliverBy(0, "N")}),
        ("BY=-999999999;NT", {"by": DeliverBy(-999_999_999, "N", trace=True)}),
        ("MT-PRIORITY=-9", {"mt_priority": -9}),
        ("MT-PRIORITY=0", {"mt_priority": 0}),
        ("MT-PRIORITY=9", {"mt_priority": 9}),
        ("HOLDFOR=1", {"hold_for": 1}),
        ("HOLDFOR=999999999", {"hold_for": 999_999_999}),
        ("HOLDUNTIL=2030-01-02T03:04:05Z", {"hold_until": datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)}),
        (
            "HOLDUNTIL=2030-01-02t03:04:05.5+01:00",
            {"hold_until": datetime(2030, 1, 2, 2, 4, 5, 500_000, UTC)},
        ),
        ("XFOO", {"extra": (("XFOO", None),)}),
        ("xfoo=Bar", {"extra": (("XFOO", "Bar"),)}),
    ],
)
def test_mail_parameters_are_typed(text: str, fields: dict[str, Any]) -> None:
    assert mail(text) == MailParameters(**fields)


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("NOTIFY=NEVER", {"notify": frozenset({Notify.NEVER})}),
        ("notify=Success,DELAY", {"notify": frozenset({Notify.SUCCESS, Notify.DELAY})}),
        ("ORCPT=rfc822;a@b", {"orcpt": OriginalRecipient("rfc822", "a@b")}),
        ("ORCPT=RFC822;a+2Bb@c", {"orcpt": OriginalRecipient("rfc822", "a+b@c")}),
        ("ORCPT=rfc822;" + "a" * 493, {"orcpt": OriginalRecipient("rfc822", "a" * 493)}),
        (r"ORCPT=utf-8;\x{FC}@b", {"orcpt": OriginalRecipient("utf-8", "ü@b")}),
        (r"ORCPT=UTF-8;\x{fc}@b", {"orcpt": OriginalRecipient("utf-8", "ü@b")}),
        (r"ORCPT=utf-8;a\x{2B}\x{1F600}@b", {"orcpt": OriginalRecipient("utf-8", "a+😀@b")}),
        (r"ORCPT=utf-8;\x{5C}x{41}@b", {"orcpt": OriginalRecipient("utf-8", r"\x{41}@b")}),
        ("XFOO=1 NOTIFY=DELAY", {"notify": frozenset({Notify.DELAY}), "extra": (("XFOO", "1"),)}),
    ],
)
def test_rcpt_parameters_are_typed(text: str, fields: dict[str, Any]) -> None:
    assert rcpt(text) == RcptParameters(**fields)


def test_original_recipient_may_be_plain_utf8_under_smtputf8_only() -> None:
    assert rcpt("ORCPT=utf-8;ü@b", utf8=True).orcpt == OriginalRecipient("utf-8", "ü@b")
    with pytest.raises(RemoteProtocolError) as caught:
        rcpt("ORCPT=utf-8;ü@b")
    assert caught.value.reply.code == 501


@pytest.mark.parametrize(
    "text",
    [
        "SIZE",
        "SIZE=",
        "SIZE=-1",
        "SIZE=+1",
        "SIZE=abc",
        "SIZE=1e3",
        "SIZE=1_0",
        "SIZE=²",
        "SIZE=0x1",
        "SIZE=1" + "0" * 20,
        "SIZE=" + "9" * 10_000,
        "SIZE=1=2",
        "SIZE=1 SIZE=1",
        "SIZE=1 size=2",
        "BODY",
        "BODY=",
        "BODY=9BIT",
        "SMTPUTF8=",
        "SMTPUTF8=1",
        "SMTPUTF8 SMTPUTF8",
        "\u017fMTPUTF8",
        "RET=",
        "RET=BOTH",
        "RET=FULL,HDRS",
        "RET",
        "RET=FULL RET=FULL",
        "ENVID=",
        "ENVID",
        "ENVID=a+0D+0AX-Inject:1",
        "ENVID=+0g",
        "ENVID=+",
        "ENVID=+4",
        "ENVID=a+",
        "ENVID=+00",
        "ENVID=+7F",
        "ENVID=+FF",
        "ENVID=+C3+BC",
        "ENVID=" + "a" * 101,
        "ENVID=ü",
        "AUTH=",
        "AUTH",
        "AUTH=+0g",
        "AUTH=+FF",
        "AUTH=" + "a" * 501,
        "AUTH=<> AUTH=<>",
        "REQUIRETLS=1",
        "REQUIRETLS=",
        "BY=0;R",
        "BY=-1;R",
        "BY=1",
        "BY=1;",
        "BY=1;X",
        "BY=;R",
        "BY=1;RX",
        "BY=1234567890;N",
        "BY=1;R;T",
        "MT-PRIORITY=10",
        "MT-PRIORITY=-10",
        "MT-PRIORITY=+1",
        "MT-PRIORITY=-0",
        "MT-PRIORITY=",
        "MT-PRIORITY=01",
        "HOLDFOR=-1",
        "HOLDFOR=0",
        "HOLDFOR=",
        "HOLDFOR=1234567890",
        "HOLDFOR=1.5",
        "HOLDUNTIL=tomorrow",
        "HOLDUNTIL=2030-13-01T00:00:00Z",
        "HOLDUNTIL=2030-01-01",
        "HOLDUNTIL=2030-01-01T00:00:00",
        "HOLDUNTIL=0001-01-01T00:00:00+23:59",
        "HOLDUNTIL=2030-01-01T00:00:00+99:99",
        "HOLDUNTIL=",
        "HOLDFOR=1 HOLDUNTIL=2030-01-01T00:00:00Z",
        "HOLDUNTIL=2030-01-01T00:00:00Z HOLDFOR=1",
        "=",
        "=1",
        "-A=1",
        "A_B=1",
        "ü=1",
        "XFOO=",
        "XFOO=a=b",
        "XFOO XFOO=1",
        "XFOO=ü",
        "<a@b>",
        "XFOO\u00a0",
    ],
)
def test_malformed_mail_parameter_is_refused(text: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        mail(text)
    assert (caught.value.reply.code, caught.value.reply.enhanced) == (501, "5.5.4")


@pytest.mark.parametrize("utf8", [False, True])
@pytest.mark.parametrize(
    "text",
    [
        "NOTIFY",
        "NOTIFY=",
        "NOTIFY=NEVER,FAILURE",
        "NOTIFY=FAILURE,NEVER",
        "NOTIFY=SUCCESS,SUCCESS",
        "NOTIFY=,",
        "NOTIFY=SUCCESS,",
        "NOTIFY=ALWAYS",
        "NOTIFY=DELAY NOTIFY=DELAY",
        "NOTIFY=\u017fUCCESS",
        "ORCPT",
        "ORCPT=",
        "ORCPT=a@b",
        "ORCPT=;a@b",
        "ORCPT=rfc822;",
        "ORCPT=rfc822;+0g",
        "ORCPT=a(b;c",
        "ORCPT=rfc822;a+0D+0Ab",
        "ORCPT=rfc822;a+00",
        "ORCPT=rfc822;+C3+BC",
        "ORCPT=rfc822;ü",
        "ORCPT=ü;a",
        r"ORCPT=utf-8;a\x{0D}\x{0A}b",
        r"ORCPT=utf-8;\x{D800}",
        r"ORCPT=utf-8;\x{110000}",
        r"ORCPT=utf-8;\x{}",
        r"ORCPT=utf-8;a\b",
        r"ORCPT=utf-8;a+2Bb",
        r"ORCPT=utf-8;\x{2028}",
        "ORCPT=utf-8;\u2028",
        "ORCPT=\u212a;a",
        "ORCPT=utf-8;",
        "ORCPT=rfc822;" + "a" * 494,
        "ORCPT=rfc822;a ORCPT=rfc822;a",
    ],
)
def test_malformed_rcpt_parameter_is_refused(text: str, utf8: bool) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        rcpt(text, utf8=utf8)
    assert (caught.value.reply.code, caught.value.reply.enhanced) == (501, "5.5.4")


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("SIZE=1", "SIZE"),
        ("BODY=7BIT", "8BITMIME"),
        ("BODY=8BITMIME", "8BITMIME"),
        ("BODY=BINARYMIME", "BINARYMIME"),
        ("SMTPUTF8", "SMTPUTF8"),
        ("RET=FULL", "DSN"),
        ("ENVID=a", "DSN"),
        ("AUTH=<>", "AUTH"),
        ("REQUIRETLS", "REQUIRETLS"),
        ("BY=1;R", "DELIVERBY"),
        ("MT-PRIORITY=1", "MT-PRIORITY"),
        ("HOLDFOR=1", "FUTURERELEASE"),
        ("HOLDUNTIL=2030-01-01T00:00:00Z", "FUTURERELEASE"),
        ("XFOO", "XFOO"),
    ],
)
def test_mail_parameter_needs_its_extension_offered(text: str, needed: str) -> None:
    assert MailParameters.parse(text, extensions={needed}) != NO_MAIL_PARAMETERS
    without = EVERYTHING - {needed, "BINARYMIME" if needed == "8BITMIME" else needed}
    for extensions in (without, frozenset[str]()):
        with pytest.raises(RemoteProtocolError) as caught:
            MailParameters.parse(text, extensions=extensions)
        assert (caught.value.reply.code, caught.value.reply.enhanced) == (555, "5.5.4")


@pytest.mark.parametrize("text", ["NOTIFY=NEVER", "ORCPT=rfc822;a@b"])
def test_rcpt_parameter_needs_dsn_offered(text: str) -> None:
    assert RcptParameters.parse(text, extensions={"DSN"}) != NO_RCPT_PARAMETERS
    with pytest.raises(RemoteProtocolError) as caught:
        RcptParameters.parse(text, extensions=EVERYTHING - {"DSN"})
    assert caught.value.reply.code == 555


@pytest.mark.parametrize(
    "keyword", ["PIPELINING", "CHUNKING", "DSN", "8BITMIME", "NOTIFY=NEVER", "XBAR", "FROM"]
)
def test_mail_refuses_what_is_no_parameter_of_mail(keyword: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        mail(keyword)
    assert caught.value.reply.code == 555


@pytest.mark.parametrize(
    "word", ["SIZE=1", "BODY=7BIT", "SMTPUTF8", "RET=FULL", "AUTH=<>", "REQUIRETLS", "XBAR=1"]
)
def test_rcpt_refuses_what_is_no_parameter_of_rcpt(word: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        rcpt(word)
    assert caught.value.reply.code == 555


def test_reply_repeats_nothing_a_stranger_said() -> None:
    for text in ("XEVIL=1", "RET=XEVIL", "XEVIL==", "HOLDUNTIL=XEVIL", "SIZE=XEVIL", "AUTH=+XEVIL"):
        with pytest.raises(RemoteProtocolError) as caught:
            mail(text)
        assert "XEVIL" not in caught.value.reply.text


def test_parameters_read_like_a_mapping_of_what_is_sent() -> None:
    params = mail("size=010 SMTPUTF8 XFOO=Bar")
    assert dict(params) == {"SIZE": "10", "SMTPUTF8": None, "XFOO": "Bar"}
    assert params.raw == dict(params)
    assert params["SIZE"] == params["size"] == "10"
    assert "smtputf8" in params
    assert "BODY" not in params
    assert params.get("BODY", "none") == "none"
    assert len(params) == 3
    assert not NO_MAIL_PARAMETERS
    assert str(params) == "SIZE=10 SMTPUTF8 XFOO=Bar"
    with pytest.raises(KeyError):
        params["BODY"]
    with pytest.raises(TypeError):
        params.raw["SIZE"] = "1"  # type: ignore[index]  # that is the point


def test_parameters_are_values() -> None:
    params = mail("SIZE=10 AUTH=<> HOLDFOR=5 XFOO=1")
    assert hash(params) == hash(mail("XFOO=1 HOLDFOR=5 AUTH=<> SIZE=10"))
    assert copy.deepcopy(params) == pickle.loads(pickle.dumps(params)) == params
    assert dict(replace(params, size=None, auth=None)) == {"HOLDFOR": "5", "XFOO": "1"}
    with pytest.raises(AttributeError):
        params.size = 1  # type: ignore[misc]  # that is the point


def test_hold_until_goes_out_in_utc() -> None:
    east = datetime(2030, 1, 1, 1, 0, tzinfo=timezone(timedelta(hours=2)))
    assert str(MailParameters(hold_until=east)) == "HOLDUNTIL=2029-12-31T23:00:00Z"


@pytest.mark.parametrize(
    "extra", [("X FOO", None), ("XFOO", "a b"), ("XFOO", "a\r\nRSET"), ("XFOO", "="), ("", "a")]
)
def test_parameter_that_cannot_be_sent_is_our_own_error(extra: tuple[str, str | None]) -> None:
    with pytest.raises(LocalProtocolError):
        str(MailParameters(extra=(extra,)))


@pytest.mark.parametrize(
    ("addr_type", "address"),
    [
        ("", "a"),
        ("RFC822", "a"),
        ("a b", "a"),
        ("a;b", "a"),
        ("rfc822", ""),
        ("rfc822", "ü"),
        ("utf-8", "a\nb"),
    ],
)
def test_bad_original_recipient_is_a_value_error(addr_type: str, address: str) -> None:
    with pytest.raises(ValueError):
        OriginalRecipient(addr_type, address)


@pytest.mark.parametrize(("seconds", "mode"), [(0, "R"), (-1, "R"), (10**9, "N"), (1, "X"), (1, "r")])
def test_bad_time_limit_is_a_value_error(seconds: int, mode: Any) -> None:
    with pytest.raises(ValueError):
        DeliverBy(seconds, mode)


@given(MAIL_PARAMETERS)
def test_law_mail_parameters_round_trip(params: MailParameters) -> None:
    assert mail(str(params)) == params
    assert bool(params) == (params != NO_MAIL_PARAMETERS)


@given(RCPT_PARAMETERS)
def test_law_rcpt_parameters_round_trip(params: RcptParameters) -> None:
    assert rcpt(str(params)) == params


@given(st.text())
@example("a=b+\x00\r\n\u2028ü😀")
def test_law_xtext_round_trips(text: str) -> None:
    value = encode_xtext(text)
    assert decode_xtext(value) == text
    assert decode_xtext(value.lower() if text == text.lower() and "+" not in text else value) == text
    assert value.isascii()
    assert not set(value) & set("= \r\n")


KEYWORDS = st.sampled_from(
    [
        "SIZE",
        "BODY",
        "SMTPUTF8",
        "RET",
        "ENVID",
        "AUTH",
        "REQUIRETLS",
        "BY",
        "MT-PRIORITY",
        "HOLDFOR",
        "HOLDUNTIL",
        "NOTIFY",
        "ORCPT",
        "XFOO",
    ]
)
VALUES = st.text("0123456789+-;,NRT:.Zabx{}\\<>@\xfc=ABCDEF", max_size=12) | st.text(max_size=12)


@given(st.lists(st.builds("{}={}".format, KEYWORDS, VALUES) | KEYWORDS | st.text(max_size=8)).map(" ".join))
@example("ORCPT=utf-8;" + r"\x{" * 100)
def test_law_garbage_raises_nothing_but_the_remote_protocol_error(text: str) -> None:
    for parse in (mail, rcpt, lambda text: rcpt(text, utf8=True)):
        try:
            params = parse(text)
        except RemoteProtocolError:
            continue
        assert parse(str(params)) == params
