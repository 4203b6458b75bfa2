"""The help texts that documents show: ``console`` blocks that begin with ``$ glasshouse… --help``.

Run as a program (``nox -s docs``), it writes the real text into every such block of every document.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from support.repository import command, tracked_files

BLOCK = re.compile(
    r"^```console\n\$ (?P<line>glasshouse[a-z-]*(?: [a-z-]+)* --help)\n(?P<shown>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


def documents() -> list[Path]:
    return [path for path in tracked_files() if path.suffix == ".md"]


def printed(line: str) -> str:
    """What the command line prints, at the width that the documents have."""
    name, *arguments = shlex.split(line)
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    return subprocess.run(
        [command(name), *arguments], check=True, capture_output=True, text=True, env=environment
    ).stdout


def with_real_help(text: str) -> str:
    """The document with every help text replaced by the real one, where a word differs.

    Versions of Python lay the same help out in different columns, so white space alone is no difference.
    """

    def real(block: re.Match[str]) -> str:
        help_text = printed(block["line"])
        if block["shown"].split() == help_text.split():
            return block[0]
        return f"```console\n$ {block['line']}\n{help_text}```"

    return BLOCK.sub(real, text)


def main() -> None:
    for path in documents():
        text = path.read_text(encoding="utf-8")
        if (renewed := with_real_help(text)) != text:
            path.write_text(renewed, encoding="utf-8")
            print(path)


if __name__ == "__main__":
    main()
