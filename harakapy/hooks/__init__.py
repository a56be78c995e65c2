"""The extension point: hook specifications, verdicts, and the running of plugins."""

from harakapy.hooks.chain import Chain, Link, OnError, Role
from harakapy.hooks.discovery import (
    GROUP,
    InstalledPlugin,
    PluginNotFound,
    announced_plugins,
    find_plugin,
    installed_plugins,
    plugin_name,
)
from harakapy.hooks.facade import Hooks
from harakapy.hooks.judge import HookFault, IllegalAnswer
from harakapy.hooks.marker import hookimpl
from harakapy.hooks.notes import Notes
from harakapy.hooks.plugin import Plugin, PluginConfig
from harakapy.hooks.registry import PluginOptions, RegistrationError, Registry, hook_specs
from harakapy.hooks.results import PluginResults, Results
from harakapy.hooks.spec import HookSpec, Kind, OnFault
from harakapy.hooks.subject import Subject
from harakapy.hooks.verdict import (
    CONT,
    DELAY,
    DENIALS,
    DENY,
    DENYDISCONNECT,
    DENYSOFT,
    DENYSOFTDISCONNECT,
    DISCONNECT,
    HOOK_NEXT,
    NEXT_HOOK,
    OK,
    Action,
    Verdict,
)

__all__ = [
    "CONT", "DELAY", "DENIALS", "DENY", "DENYDISCONNECT", "DENYSOFT", "DENYSOFTDISCONNECT", "DISCONNECT",
    "GROUP", "HOOK_NEXT", "NEXT_HOOK", "OK", "Action", "Chain", "HookFault", "HookSpec", "Hooks",
    "IllegalAnswer", "InstalledPlugin", "Kind", "Link", "Notes", "OnError", "OnFault", "Plugin",
    "PluginConfig", "PluginNotFound", "PluginOptions", "PluginResults", "RegistrationError", "Registry",
    "Results", "Role", "Subject", "Verdict", "announced_plugins", "find_plugin", "hook_specs",
    "hookimpl", "installed_plugins", "plugin_name",
]  # fmt: skip
