"""Structured log lines: ten levels, three formats, everything from strangers escaped."""

from harakapy.log.escape import plain_text
from harakapy.log.level import Level
from harakapy.log.logger import Logger, make_logger, open_logger, silent_logger
from harakapy.log.output import SILENT, Output, Tap
from harakapy.log.record import LogRecord
from harakapy.log.render import FORMATS, JsonRenderer, LogfmtRenderer, Renderer, TextRenderer, renderer
from harakapy.log.sink import Sink
from harakapy.log.target import Descriptor, LogFile, Nowhere, StreamTarget, Target
from harakapy.log.turns import Turns

__all__ = [
    "FORMATS",
    "SILENT",
    "Descriptor",
    "JsonRenderer",
    "Level",
    "LogFile",
    "LogRecord",
    "LogfmtRenderer",
    "Logger",
    "Nowhere",
    "Output",
    "Renderer",
    "Sink",
    "StreamTarget",
    "Tap",
    "Target",
    "TextRenderer",
    "Turns",
    "make_logger",
    "open_logger",
    "plain_text",
    "renderer",
    "silent_logger",
]
