import re
from pathlib import Path

from benchmarks import readme

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_figures_are_those_that_were_measured():
    assert readme.filled(TEXT) == TEXT, "run python -m benchmarks.readme"


def test_every_file_it_names_exists():
    names = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert names
    for name in names:
        assert (ROOT / name).exists(), name


def test_every_make_command_it_names_is_in_the_makefile():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z-]+)", TEXT, re.MULTILINE))
    assert {"demo", "test", "train", "export"} <= named
    assert named <= targets
