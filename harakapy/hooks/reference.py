"""The hook reference of the documentation, made from the hook specifications and their manual."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator

from harakapy.hooks import hookspecs
from harakapy.hooks.manual import Manual, read_manual
from harakapy.hooks.registry import DEFAULT_TIMEOUT_S, hook_specs
from harakapy.hooks.spec import HookSpec, Kind, OnFault
from harakapy.hooks.verdict import Action

CHAPTERS = {
    "init_master": "The life of a server",
    "connect_init": "The life of a connection",
    "mail": "The life of a transaction",
    "pre_send_trans_email": "The life of a message that goes out",
}
"""The first hook of each chapter, and its title."""

INTRODUCTION = f"""\
# Hooks

A hook is a point at which plugins have a say. A plugin implements a hook with a function of that name under
`@hookimpl`, in a module or in a class, plain or async. It takes those of the hook's arguments that it needs:

```python
from harakapy import DENY, Plugin, hookimpl


class NoStrangers(Plugin):
    @hookimpl
    async def hook_rcpt(self, connection, recipient):
        if not connection.relaying and recipient.user == "staff":
            return DENY("5.7.1 for members of the house only")
```

This page is made from the hook specifications themselves.

## Answers

A verdict is returned bare (`return DENY`) or called with a text (`return DENY("5.7.1 not here")`). Several
texts make a reply of several lines, `code=` replaces the reply code, and a whole `Reply` may stand in their
place. `None` says the same as `CONT`.

{{verdicts}}

`NEXT_HOOK` is another name of `HOOK_NEXT`. Each hook accepts the verdicts that it lists. Another one, or an
answer that is no verdict at all, is a fault of the plugin.

## Kinds of hooks

{{kinds}}

## Order

First come the functions marked `tryfirst=True`, then all others, last those marked `trylast=True`; among them
the order of the `plugins` list in the configuration decides, and inside one plugin the order of definition.
What a plugin registers by hand with `register_hook` comes before its marked functions. `harakapy hooks` shows
the order in force.

`@hookimpl(wrapper=True)` makes a generator with one `yield` that stands around the others: `verdict = yield`
gives what they decided, and what the wrapper returns replaces it. `@hookimpl(around=True)` does the same for
an async function, which awaits `proceed()` in place of the `yield`. Returning `None` keeps the inner verdict.
The first wrapper in the order is the outermost.

## Time and faults

An async function has {DEFAULT_TIMEOUT_S:g} seconds, or the `hook_timeout` of its plugin's table, or the
`timeout_s` of its mark; 0 means no limit. A plain function cannot be interrupted, and every connection waits
for it: be quick.

A plugin is at fault if it raises, overruns its time or gives an answer that the hook does not accept. A fault
is logged with its traceback and counted, and the client learns nothing of it. What happens then depends on
the hook and is told there. Where the client would be asked to come back later, `on_error = "continue"` in
the plugin's table lets its faults count as `CONT`.

## Denials

DENY, DENYSOFT and their DISCONNECT forms are shown to [`hook_deny`](#hook_deny) before they take effect, on
every hook of a connection. If it answers OK, the denial is undone and the remaining plugins are asked.
"""
FAULTS = {
    OnFault.TEMPFAIL: "the client is asked to come back later (451), and mail in the queue is put off",
    OnFault.UNAVAILABLE: "the client is asked to come back later (421)",
    OnFault.ABSENT: "it counts as absent",
    OnFault.STOP: "the server does not start",
}
"""What becomes of a plugin's fault, for the line of each hook that tells it."""


def render_reference() -> str:
    """The whole reference as a Markdown page, ending with a newline."""
    return "\n".join(_page())


def _page() -> Iterator[str]:
    specs = hook_specs().values()
    yield INTRODUCTION.format(
        verdicts=_table(("verdict", "meaning"), ((f"`{action.name}`", action.value) for action in Action)),
        kinds=_table(("kind", "outcome"), ((kind.name.lower(), kind.value) for kind in Kind)),
    )
    for spec in specs:
        if spec.name in CHAPTERS:
            yield f"## {CHAPTERS[spec.name]}\n"
        yield from _section(spec, read_manual(spec.manual))


def _section(spec: HookSpec, manual: Manual) -> Iterator[str]:
    yield f"### {spec.function_name}\n"
    yield f"{_marked_up(manual.summary)}\n"
    yield f"```python\n{_signature(spec)}\n```\n"
    yield f"Called {_marked_up(manual.fires)}\n"
    yield _table(("argument", ""), ((f"`{name}`", meaning) for name, meaning in manual.arguments)) + "\n"
    if manual.answers:
        answers = ((_answer(name), effect) for name, effect in manual.answers)
        yield _table(("answer", "effect"), answers) + "\n"
    else:
        yield f"Answers: {_marked_up(manual.no_answers)}\n"
    yield f"- Kind: {_marked_up(manual.kind)}"
    yield f"- If a plugin is at fault: {FAULTS[spec.on_fault]}."
    yield f"- Not known yet: {_marked_up(manual.not_known_yet)}"
    yield f"- Source: {_marked_up(manual.source)}"
    yield f"- In Haraka: {_marked_up(manual.haraka)}\n"


def _signature(spec: HookSpec) -> str:
    """The typed signature as it stands in the specification."""
    signature = inspect.signature(getattr(hookspecs, spec.function_name))
    return f"{spec.function_name}{signature}".replace("'", "")


def _answer(name: str) -> str:
    return f"`{name}`" if name in Action.__members__ else _marked_up(name)


def _table(heads: tuple[str, str], rows: Iterable[tuple[str, str]]) -> str:
    """A Markdown table; the right column is text of the manual."""
    lines = [f"| {heads[0]} | {heads[1]} |".replace("  ", " "), "|---|---|"]
    lines += [f"| {left} | {_marked_up(right)} |" for left, right in rows]
    return "\n".join(lines)


_CODE = re.compile(
    r"(?P<hook>\bhook_\w+)"
    r"|(?P<code>\b[a-z]+\.[a-z][a-z_]+\b|\b[A-Z_]+\([^)]*\)|<?\{\w+\}>?|\[\".*?\"\]|\b[a-z]+_[a-z_]+\b)"
)


def _marked_up(text: str) -> str:
    """Text of a manual with the names of hooks as links, and other names of the code as code."""
    return _CODE.sub(_code_or_link, text).replace("|", r"\|")


def _code_or_link(found: re.Match[str]) -> str:
    name = found[0]
    return f"[`{name}`](#{name})" if found["hook"] else f"`{name}`"
