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
    main: Callable[[], None],
    kept: str = "",
    failures: tuple[type[Exception], ...] = (),
    leave: Callable[[int], object] = sys.exit,
) -> None:
    """Runs a command: bad input is one line on stderr and exit 2, a failed run exit 1.

    Args:
        main: The command; bad input is a `ValueError`.
        kept: What an interruption leaves, for its message, where there is something to know.
        failures: What a failed run raises, besides `OSError`.
        leave: Ends the process with that exit code; `os._exit` where threads must not hold it back.
    """

    def stop(code: int, message: str) -> None:
        sys.stdout.flush()
        print(f"error: {' '.join(message.split())}", file=sys.stderr, flush=True)
        leave(code)

    def terminate(*_: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        _run(main, kept, failures, stop)
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(
    main: Callable[[], None],
    kept: str,
    failures: tuple[type[Exception], ...],
    stop: Callable[[int, str], None],
) -> None:
    interrupted = "interrupted" + (f"; {kept}" if kept else "")
    conflict = conflicting_install()
    if conflict:
        stop(2, conflict)
    try:
        main()
    except ValueError as error:
        stop(2, str(error))
    except failures as error:
        stop(1, str(error))
    except OSError as error:
        stop(1, f"{error.filename or ''}: {error.strerror or error}".lstrip(": "))
    except _Terminated:
        stop(128 + signal.SIGTERM, interrupted)
    except KeyboardInterrupt:
        stop(128 + signal.SIGINT, interrupted)
