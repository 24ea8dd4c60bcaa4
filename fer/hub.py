"""Model bundles on the Hugging Face Hub: their addresses, their download, and what goes wrong.

``python -m export.push`` publishes a folder of bundles with `INDEX_FILE` beside them. A download
follows the hashes from there: index, manifest of the bundle, each of its files. Everything is of
one commit, and a file that is not what was promised is never loaded.
"""

import contextlib
import functools
import hashlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fer.labels import LABELS
from fer.runtime import MODEL_FILE
from fer.spec import ModelSpec

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

INDEX_FILE = "published.json"
"""What was published, beside the bundles: the default one, and the hash of every file."""

INDEX_FORMAT = 1
ATTEMPTS = 4
"""How often something is tried while the Hub is busy."""

PREFIX = "hf://"

_NEEDED = ("spec.json", "labels.txt", MODEL_FILE)
_CONFLICTS = (409, 412)
_BUSY = (408, 429, 500, 502, 503, 504)
_LONGEST_WAIT = 60.0
_TIMEOUT = 10.0


class HubError(ValueError):
    """The Hub cannot be used, or what it has is no bundle for this library."""


class HubBusyError(HubError):
    """What may be better in a moment: no network, a server in trouble, somebody else's commit.

    Attributes:
        wait: Seconds to wait before the next attempt; None where it would be in vain for long.
    """

    def __init__(self, message: str, wait: float | None = 1.0) -> None:
        """Takes the message and how long to wait."""
        super().__init__(message)
        self.wait = wait


def bundle_folder(model: str | Path) -> Path:
    """Returns the folder of a bundle, fetched first where it is on the Hub.

    Args:
        model: A folder, or ``hf://USER/NAME``, with ``@REVISION`` (branch, tag or commit) and
            ``/VARIANT`` after it where the newest and the default are not meant.

    Raises:
        HubError: If the address is wrong, or the bundle cannot be fetched.
        fer.spec.SpecError: If the bundle is of another version or has other labels.
    """
    if not str(model).startswith(PREFIX):
        return Path(model)
    from huggingface_hub import parse_hf_uri
    from huggingface_hub.errors import HfUriError

    try:
        address = parse_hf_uri(str(model))
    except HfUriError as error:
        raise HubError(f"model must be {PREFIX}USER/NAME[@REVISION][/VARIANT]: {error}") from error
    if address.type != "model":
        raise HubError(f"model must be a model on the Hub, received {model}, a {address.type}")
    return download(address.id, revision=address.revision, variant=address.path_in_repo or None)


def download(repo: str, *, revision: str | None = None, variant: str | None = None) -> Path:
    """Fetches a bundle into the Hub's cache, or finds it there.

    Where the Hub cannot be reached, or ``HF_HUB_OFFLINE`` is set, the cached bundle of that
    revision serves. A revision counts as cached once its bundle is there whole, so that an
    interrupted update leaves the one before.

    Args:
        repo: ``USER/NAME``.
        revision: Branch, tag or commit; None for ``main``.
        variant: One of the bundles; None for the default.

    Returns:
        The bundle's folder, in the cache.

    Raises:
        HubError: If it cannot be fetched, or its files are not what its manifest promises.
        fer.spec.SpecError: If it is of another version or has other labels.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return _download(repo, revision, variant, cached=False)
        except HubBusyError as error:
            with contextlib.suppress(HubBusyError):
                return _download(repo, revision, variant, cached=True)
            if error.wait is None or attempt == ATTEMPTS:
                raise
            time.sleep(error.wait)
    raise AssertionError("unreachable")


def _download(repo: str, revision: str | None, variant: str | None, *, cached: bool) -> Path:
    from huggingface_hub import HfApi, hf_hub_download

    with hub_errors(repo):
        api = HfApi()
        commit = (
            revision if cached else api.model_info(repo, revision=revision, timeout=_TIMEOUT).sha
        )
        get = functools.partial(
            hf_hub_download, repo, revision=commit, local_files_only=cached, library_name="fer-edge"
        )
        index = _read_json(_fetch(get, INDEX_FILE, _is_json))
        if index.get("format") != INDEX_FORMAT:
            raise HubError(
                f"{repo}: {INDEX_FILE} must have format {INDEX_FORMAT}, received "
                f"{index.get('format')}; install the fer-edge it was published with"
            )
        try:
            variants, promised = list(index["variants"]), index["files"]
            variant = variant or str(index["default"])
            if variant not in variants:
                raise HubError(f"variant must be one of {variants} in {repo}, received {variant!r}")
            manifest = _fetch(get, name := f"{variant}/manifest.json", _hash_is(promised[name]))
            files = _read_json(manifest)["files"]
            # Golden tiles and the network to retrain are for others to fetch.
            wanted = [name for name in files if "/" not in name and not name.endswith(".keras")]
            if missing := set(_NEEDED) - set(wanted):
                raise HubError(f"{repo}: {variant}/manifest.json names no {min(missing)}")
            for name in wanted:
                _fetch(get, f"{variant}/{name}", _hash_is(files[name]))
        except (KeyError, TypeError, AttributeError) as error:
            raise HubError(f"{repo} was not published by export.push: no {error}") from error
        if not cached:
            api.resolve_revision(repo, revision=revision)  # from now on the cache knows it
    folder = manifest.parent
    labels = (folder / "labels.txt").read_text(encoding="utf-8", errors="replace").split()
    if labels != list(LABELS):
        raise HubError(f"{repo}: labels of {variant} must be {list(LABELS)}, received {labels}")
    ModelSpec.load(folder)
    return folder


def _fetch(get: Callable[..., Any], name: str, accept: Callable[[Path], bool]) -> Path:
    """Returns a file that is as promised; one in the cache that is not is fetched once more."""
    path = Path(get(name))
    if accept(path):
        return path
    if get.keywords["local_files_only"]:  # type: ignore[attr-defined]
        raise HubBusyError(f"{name} in the cache is damaged: connect to the Hub once", wait=None)
    path = Path(get(name, force_download=True))
    if not accept(path):
        raise HubError(f"{name} is not the file that was published: its hash differs; push again")
    return path


def _hash_is(promise: dict[str, Any]) -> Callable[[Path], bool]:
    expected = promise["sha256"]
    return lambda path: hashlib.sha256(path.read_bytes()).hexdigest() == expected


def _is_json(path: Path) -> bool:
    try:
        return isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
    except ValueError:
        return False


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise HubError(f"{path.name} is not JSON: {error}") from error


@contextlib.contextmanager
def hub_errors(repo: str) -> Iterator[None]:
    """Makes one line of whatever goes wrong with the Hub, and never shows the token.

    Args:
        repo: ``USER/NAME``, for the message.

    Raises:
        HubError: In place of the errors of huggingface_hub, of the network and of the disk.
    """
    import httpx2
    from huggingface_hub import get_token

    try:
        yield
    except HubError:
        raise
    except (OSError, httpx2.HTTPError, RuntimeError) as error:
        reason = _reason(error, repo)
        # A server may repeat what it was sent, in its answer or in a redirect.
        if (token := get_token()) and token in str(reason):
            reason.args = (str(reason).replace(token, "<token>"),)
        raise reason from error


def _reason(error: BaseException, repo: str) -> HubError:
    import httpx2
    from huggingface_hub import constants, errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return HubBusyError(f"{repo} is needed from the Hub, and HF_HUB_OFFLINE is set", wait=None)
    if isinstance(error, errors.HfHubHTTPError):
        return _http_reason(error, repo)
    if isinstance(error, httpx2.HTTPError):
        # Refused or unknown hosts stay so; what broke off may come back.
        wait = None if isinstance(error, httpx2.ConnectError) else 1.0
        return HubBusyError(f"cannot reach {constants.ENDPOINT}: {error or 'no answer'}", wait)
    wrapped = isinstance(error, errors.LocalEntryNotFoundError) or type(error) is RuntimeError
    if wrapped and error.__cause__ is not None:  # what happened to the transfer of one file
        return _reason(error.__cause__, repo)
    if isinstance(error, errors.LocalEntryNotFoundError):
        return HubBusyError(f"{repo} is not in the cache: connect to the Hub once", wait=None)
    if isinstance(error, OSError) and error.errno is not None:
        where = error.filename or f"the cache {constants.HF_HUB_CACHE}"
        return HubError(f"cannot use {where}: {error.strerror}")
    if isinstance(error, PermissionError):  # hf_xet's, which has no number
        return HubError(f"the Hub's storage refused the token: {error}")
    return HubBusyError(f"the transfer failed: {error}")


def _http_reason(error: "HfHubHTTPError", repo: str) -> HubError:
    from huggingface_hub import errors

    status, said = error.response.status_code, error.server_message or ""
    said = f" ({said})" if said else ""
    if isinstance(error, errors.GatedRepoError):
        return HubError(f"{repo} is gated: ask for access on its page{said}")
    if status == 401 and not isinstance(error, errors.RevisionNotFoundError):
        return HubError(
            f"the Hub refused the token, or {repo} is private or does not exist{said}: "
            "check the name, and HF_TOKEN or `hf auth login`"
        )
    if status == 403:
        return HubError(f"this token may not do that to {repo}{said}: it needs write permission")
    if isinstance(error, errors.RevisionNotFoundError):
        return HubError(f"{repo} has no such revision{said}")
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return HubError(f"{repo} was not published by export.push, or not at that revision{said}")
    if status == 404:
        return HubError(f"the Hub has no {repo} that this token may see{said}")
    if status in _CONFLICTS:
        return HubBusyError(f"somebody else changed {repo} meanwhile{said}; push again")
    if status in _BUSY:
        try:
            wait = float(error.response.headers.get("Retry-After", 1.0))
        except ValueError:  # a date
            wait = _LONGEST_WAIT
        return HubBusyError(
            f"the Hub is busy or in trouble, HTTP {status}{said}; try again later",
            min(wait, _LONGEST_WAIT),
        )
    return HubError(f"the Hub answered HTTP {status} for {repo}{said}")
