"""Typed settings from one TOML file, with errors that name the file, the key and the nearest known key."""

from harakapy.config.extensions import ExtensionSettings
from harakapy.config.intervals import Intervals, Rate, RateSetting
from harakapy.config.lists import ListFile, PatternFile, TableFile
from harakapy.config.load import changed_keys, load, load_place
from harakapy.config.outbound import OutboundSettings, QueueSettings, ReportSettings, RouteSettings
from harakapy.config.place import ConfigPath, HostName, NameServer, Network, StatePath
from harakapy.config.problem import ConfigError, Problem
from harakapy.config.quantity import Count, Duration, Size
from harakapy.config.sections import DnsSettings, ListenSettings, LogSettings, PluginSection, SmtpSettings
from harakapy.config.send import SendSettings
from harakapy.config.settings import PluginTable, Settings, validate_plugin
from harakapy.config.suggest import did_you_mean, near_names, nearest
from harakapy.config.validate import Section

__all__ = [
    "ConfigError",
    "ConfigPath",
    "Count",
    "DnsSettings",
    "Duration",
    "ExtensionSettings",
    "HostName",
    "Intervals",
    "ListFile",
    "ListenSettings",
    "LogSettings",
    "NameServer",
    "Network",
    "OutboundSettings",
    "PatternFile",
    "PluginSection",
    "PluginTable",
    "Problem",
    "QueueSettings",
    "Rate",
    "RateSetting",
    "ReportSettings",
    "RouteSettings",
    "Section",
    "SendSettings",
    "Settings",
    "Size",
    "SmtpSettings",
    "StatePath",
    "TableFile",
    "changed_keys",
    "did_you_mean",
    "load",
    "load_place",
    "near_names",
    "nearest",
    "validate_plugin",
]
