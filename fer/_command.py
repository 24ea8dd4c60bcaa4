"""What the command lines share: errors in one line, and checked numbers."""

import argparse
import sys
from collections.abc import Callable
from typing import Any

BAD = 2
"""Exit code where anything the user gave could not be used."""


def fail(program: str, message: str) -> int:
    """Says in one line on stderr what is wrong, and returns `BAD`."""
    sys.stderr.write(f"{program}: error: {' '.join(message.split())}\n")
    return BAD


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage before it."""

    def error(self, message: str) -> Any:
        """Prints the message and where there is help, and exits."""
        name = self.prog.split()[-1].removesuffix(".py")
        self.exit(BAD, f"{name}: error: {message}; see {self.prog} --help\n")


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Returns an argument type: a whole number from ``least`` to ``most``."""

    def number(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(
                f"must be a whole number from {least} to {most}, received {text!r}"
            )
        return int(text)

    return number
