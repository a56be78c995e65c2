"""Writes the pages of this folder that are made from the code: hooks.md and configuration.md.

``python docs/generate.py`` writes them, with ``--check`` it only tells whether they are up to date.
"""

import argparse
import sys
from pathlib import Path

from harakapy.config.reference import reference_markdown
from harakapy.hooks.reference import render_reference

FOLDER = Path(__file__).parent

CONFIGURATION = """\
# Configuration reference

All settings of `harakapy.toml`, with their defaults; this page is made from the code. `harakapy init DIR`
writes a file with all of them as comments, `harakapy check -c FILE` tells everything that is wrong with one.

A duration is a number of seconds or a text such as `"30s"`, `"5m"`, `"1h30m"`; a size is a number of octets
or a text such as `"256 KiB"`, `"25MB"`. In the place of any value may stand `{ env = "NAME" }`, the value of
an environment variable, or `{ file = "path" }`, the content of a file. Relative paths begin beside the
configuration file unless their description says otherwise.

"""


def pages() -> dict[str, str]:
    """{file name: text} of every generated page."""
    return {"hooks.md": render_reference(), "configuration.md": CONFIGURATION + reference_markdown()}


def main() -> int:
    """The exit status: 1 if a page was to be checked and is out of date."""
    parser = argparse.ArgumentParser(description="Write the generated pages of docs/.")
    parser.add_argument("--check", action="store_true", help="only tell whether they are up to date")
    is_check = parser.parse_args().check
    status = 0
    for name, text in pages().items():
        page = FOLDER / name
        if page.is_file() and page.read_text(encoding="utf-8") == text:
            continue
        if is_check:
            sys.stderr.write(f"docs/{name} is out of date: run python docs/generate.py\n")
            status = 1
        else:
            page.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote docs/{name}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
