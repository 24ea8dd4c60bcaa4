"""Code that has to run in a process of its own."""

import subprocess
import sys
from pathlib import Path


def python(code: str, *arguments: object) -> str:
    """Runs code from the project's root and returns what it printed; fails where it fails."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
