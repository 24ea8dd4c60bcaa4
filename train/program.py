"""What every command line here shares, without TensorFlow: a parser, and errors of one line."""

import argparse
import signal
import sys
from collections.abc import Callable

from fer._conflict import conflicting_install


def new_parser(module: str, description: str, epilog: str) -> argparse.ArgumentParser:
    """Returns the parser of ``python -m MODULE``, whose help ends with the epilog's examples."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


class _Terminated(KeyboardInterrupt):
    """SIGTERM, which is to leave as little behind as Ctrl-C."""


def run(
    main: Callable[[], None], kept: str = "", failures: tuple[type[Exception], ...] = ()
) -> None:
    """Runs a command: bad input is one line on stderr and exit 2, a failed run exit 1.

    Args:
        main: The command; bad input is a `ValueError`.
        kept: What an interruption leaves, for its message, where there is something to know.
        failures: What a failed run raises, besides `OSError`.
    """

    def terminate(*_: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        _run(main, kept, failures)
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(main: Callable[[], None], kept: str, failures: tuple[type[Exception], ...]) -> None:
    interrupted = "interrupted" + (f"; {kept}" if kept else "")
    conflict = conflicting_install()
    if conflict:
        _leave(2, conflict)
    try:
        main()
    except ValueError as error:
        _leave(2, str(error))
    except failures as error:
        _leave(1, str(error))
    except OSError as error:
        _leave(1, f"{error.filename or ''}: {error.strerror or error}".lstrip(": "))
    except _Terminated:
        _leave(128 + signal.SIGTERM, interrupted)
    except KeyboardInterrupt:
        _leave(128 + signal.SIGINT, interrupted)


def _leave(code: int, message: str) -> None:
    line = " ".join(message.split())
    print(f"error: {line}", file=sys.stderr)
    sys.exit(code)
