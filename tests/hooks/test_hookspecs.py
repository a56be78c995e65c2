"""The specifications: Haraka's hooks are all there, and their manual is whole and true."""

import pytest

from harakapy.hooks import Action, HookSpec, Kind, OnFault, hook_specs
from harakapy.hooks.manual import PARTS, read_manual

SPECS = hook_specs()
EVERY = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)

HARAKA = [
    "init_master", "init_child", "init_http", "init_wss", "connect_init", "lookup_rdns", "connect", "helo",
    "ehlo", "capabilities", "unrecognized_command", "disconnect", "quit", "vrfy", "noop", "rset", "mail",
    "rcpt", "rcpt_ok", "data", "data_post", "max_data_exceeded", "queue", "queue_outbound", "queue_ok",
    "reset_transaction", "deny", "log", "send_email", "get_mx", "deferred", "bounce", "delivered",
    "pre_send_trans_email",
]  # fmt: skip

ARGUMENTS = {
    "helo": ("host",), "ehlo": ("host",), "mail": ("sender", "params"), "rcpt": ("recipient", "params"),
    "rcpt_ok": ("recipient",), "vrfy": ("argument",), "unrecognized_command": ("verb", "argument"),
    "queue_ok": ("reply",), "deny": ("verdict", "plugin", "hook"), "get_mx": ("domain",),
    "auth": ("credentials",), "auth_secret": ("user",),
    "bounce": ("error",), "delivered": ("delivery",), "deferred": ("deferral",),
}  # fmt: skip
OURS = {"auth_mechanisms", "auth_secret", "auth"}
OF_A_SERVER = {"init_master", "init_child", "init_http", "init_wss", "shutdown"}
OUTGOING = {"pre_send_trans_email", "send_email", "get_mx", "delivered", "deferred", "bounce"}


def test_every_hook_of_haraka_is_there_and_its_shutdown_function_and_ours() -> None:
    assert len(HARAKA) == 34
    assert set(SPECS) == {*HARAKA, "shutdown", *OURS}


@EVERY
def test_arguments_are_named_alike(spec: HookSpec) -> None:
    first = (
        "server" if spec.name in OF_A_SERVER
        else "hmail" if spec.name in OUTGOING
        else "record" if spec.name == "log"
        else "connection"
    )  # fmt: skip
    assert spec.arguments == (first, *ARGUMENTS.get(spec.name, ()))


@EVERY
def test_the_manual_has_all_its_parts(spec: HookSpec) -> None:
    manual = read_manual(spec.manual)
    assert manual.summary.endswith((".", "?"))
    for part in (manual.fires, manual.kind, manual.not_known_yet, manual.source, manual.haraka):
        assert part.endswith("."), part


@EVERY
def test_the_manual_explains_each_argument(spec: HookSpec) -> None:
    manual = read_manual(spec.manual)
    assert tuple(name for name, _ in manual.arguments) == spec.arguments
    assert all(meaning.endswith(".") for _, meaning in manual.arguments)


@EVERY
def test_the_manual_lists_exactly_the_accepted_verdicts(spec: HookSpec) -> None:
    manual = read_manual(spec.manual)
    listed = [name for name, _ in manual.answers]
    if spec.kind in (Kind.AMEND, Kind.OBSERVE):
        assert listed == []
        assert manual.no_answers.startswith("none" if spec.kind is Kind.OBSERVE else "a list")
        assert spec.accepts == {Action.CONT}
        return
    if spec.kind is Kind.FIND:
        assert "OK(" in listed[0]
        listed[0] = "OK"
    assert len(set(listed)) == len(listed)
    assert {Action[name] for name in listed} == spec.accepts
    assert all(effect.endswith(".") for _, effect in manual.answers)


@EVERY
def test_the_manual_names_the_kind(spec: HookSpec) -> None:
    assert read_manual(spec.manual).kind.startswith(spec.kind.name.lower())


@EVERY
def test_the_manual_names_the_counterpart_in_haraka(spec: HookSpec) -> None:
    counterpart = "the exported function shutdown" if spec.name == "shutdown" else spec.name
    assert read_manual(spec.manual).haraka.startswith(counterpart)


@EVERY
def test_a_fault_is_answered_with_what_the_hook_accepts(spec: HookSpec) -> None:
    if spec.on_fault in (OnFault.TEMPFAIL, OnFault.UNAVAILABLE):
        assert Action.DENYSOFT in spec.accepts
    if spec.kind in (Kind.AMEND, Kind.OBSERVE):
        assert spec.on_fault is OnFault.ABSENT


@EVERY
def test_a_fault_never_touches_mail_that_was_accepted(spec: HookSpec) -> None:
    if spec.name == "get_mx":  # without its answer mail could go where it must not, or fail: it waits
        assert spec.on_fault is OnFault.TEMPFAIL
    elif spec.name in OUTGOING:
        assert spec.on_fault is OnFault.ABSENT


@EVERY
def test_only_what_looks_or_adds_has_types_of_values(spec: HookSpec) -> None:
    assert bool(spec.finds) == (spec.kind in (Kind.FIND, Kind.AMEND))


def test_the_signature_is_the_definition_as_an_author_reads_it() -> None:
    assert SPECS["rcpt"].signature == "hook_rcpt(connection, recipient, params)"
    assert SPECS["rcpt"].function_name == "hook_rcpt"


@pytest.mark.parametrize("part", PARTS)
def test_a_manual_without_one_of_its_parts_is_refused(part: str) -> None:
    lines = [line for line in SPECS["noop"].manual.splitlines() if not line.startswith(f"{part}:")]
    with pytest.raises(ValueError, match=r"the parts are .*; they should be Fires, "):
        read_manual("\n".join(lines))


def test_parts_out_of_order_are_refused() -> None:
    manual = SPECS["connect_init"].manual
    kind, source = "Kind: observe.", "Source: Haraka's hook list."
    swapped = manual.replace(kind, "*").replace(source, kind).replace("*", source)
    with pytest.raises(ValueError, match="the parts are Fires, Arguments, Answers, Source, "):
        read_manual(swapped)


def test_lines_that_go_on_are_joined() -> None:
    manual = read_manual(
        "It happens.\n\n"
        "Fires: once,\n    and then\n    again.\n"
        "Arguments:\n    one: first\n        of all.\n    two: second.\n"
        "Answers:\n    OK: yes: of\n        course.\n"
        "Kind: decide.\nNot known yet: nothing.\nSource: none.\nHaraka: none.\n    At all."
    )
    assert manual.summary == "It happens."
    assert manual.fires == "once, and then again."
    assert manual.arguments == (("one", "first of all."), ("two", "second."))
    assert manual.answers == (("OK", "yes: of course."),)
    assert manual.haraka == "none. At all."
