"""The lines of code that a guide for phones shows, for tests to run."""

import re
import textwrap
from pathlib import Path


def code(guide: Path, language: str) -> str:
    """Returns the lines of the one block of that language in a Markdown file."""
    text = guide.read_text(encoding="utf-8")
    (block,) = re.findall(rf"^ *```{language}\n(.*?)^ *```$", text, re.DOTALL | re.MULTILINE)
    return textwrap.dedent(block)
