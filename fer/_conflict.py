"""Another project on PyPI, ``fer``, installs a package of the same name."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path


def conflicting_install() -> str | None:
    """Says what to do if the unrelated distribution ``fer`` was installed over this package.

    The two write into one folder, so whichever was installed last is partly in effect. Elsewhere
    on the machine it does no harm.

    Returns:
        One line for the user, or None where all is well.
    """
    try:
        other = distribution("fer")
    except PackageNotFoundError:
        return None
    if Path(str(other.locate_file("fer"))).resolve() != Path(__file__).parent.resolve():
        return None
    return (
        f"the unrelated PyPI package fer {other.version} is installed into this package's folder; "
        "run: pip uninstall fer, then install fer-edge again"
    )
