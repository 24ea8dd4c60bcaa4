"""Another project on PyPI, ``fer``, installs a package of the same name."""

from importlib.metadata import PackageNotFoundError, version


def conflicting_install() -> str | None:
    """Says what to do if the unrelated distribution ``fer`` is installed beside this one.

    The two write into one folder, so whichever was installed last is partly in effect.

    Returns:
        One line for the user, or None where all is well.
    """
    try:
        other = version("fer")
    except PackageNotFoundError:
        return None
    return (
        f"the unrelated PyPI package fer {other} is installed and shares the import name fer; "
        "run: pip uninstall fer, then install fer-edge again"
    )
