"""Commands and code as somebody else would run them."""

import contextlib
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock


def call(main: Callable[[], None], *arguments: object) -> tuple[int, str, str]:
    """Runs a command line's main function here; returns its exit code, output and errors."""
    from train.command import run

    code, out, errors = 0, io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["command", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(errors),
    ):
        try:
            run(main)
        except SystemExit as stopped:
            code = int(stopped.code or 0)
    return code, out.getvalue(), errors.getvalue()


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
