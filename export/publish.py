"""One commit that makes a repository on the Hugging Face Hub hold given files.

Every attempt begins with what the repository holds at that moment and sends only what differs, with
that state as the commit's parent. So an attempt that was interrupted, lost its answer or met
somebody else's commit is simply made again: large files that arrived stay on the Hub until a commit
names them, and a commit is there whole or not at all.

`fer.hub.INDEX_FILE` in the repository lists what was published. A file that it names and that is
published no more is deleted; others, which somebody else put there, stay. It also holds the hash of
the card as it was generated: a card with another hash was edited by a person and stays, unless told
otherwise.
"""

import hashlib
import json
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    constants,
    get_token,
    hf_hub_download,
)
from huggingface_hub.errors import HfHubHTTPError, RevisionNotFoundError
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import disable_progress_bars, logging, validate_repo_id
from huggingface_hub.utils.sha import git_hash

from fer.hub import ATTEMPTS, INDEX_FILE, INDEX_FORMAT, HubBusyError, HubError, hub_errors

CARD_FILE = "README.md"
KEPT = "nothing on the Hub is half done; push again to go on"
"""What an interruption leaves."""

Files = Mapping[str, Path | bytes]
"""Path in the repository -> a file, or what is in it."""

_TYPES = ("model", "dataset", "space")


@dataclass(frozen=True)
class Target:
    """Where to publish.

    Attributes:
        repo: ``USER/NAME``.
        kind: ``model`` or ``space``.
        private: Whether nobody else may see it.
        revision: Branch, made if it is not there.
        overwrite_card: Whether a card that a person edited is replaced too.
    """

    repo: str
    kind: str
    private: bool = False
    revision: str = "main"
    overwrite_card: bool = False

    def __post_init__(self) -> None:
        """Checks the name.

        Raises:
            ValueError: If it is none that the Hub takes.
        """
        if self.repo.count("/") != 1:
            raise ValueError(f"repo must be USER/NAME, received {self.repo!r}")
        validate_repo_id(self.repo)


@dataclass(frozen=True)
class Published:
    """What a publication did.

    Attributes:
        url: Of the commit.
        sent: Files that were new or had changed.
        deleted: Files that are published no more.
        card_kept: Whether the card was left as a person had edited it.
    """

    url: str
    sent: list[str]
    deleted: list[str]
    card_kept: bool


def quiet() -> None:
    """Leaves the errors to us: huggingface_hub's own messages hold signed addresses."""
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        disable_progress_bars()


def publish(target: Target, files: Files, message: str, **about: Any) -> Published:
    """Makes the repository hold these files, in one commit; makes the repository if need be.

    Args:
        target: Where.
        files: What, with the card as `CARD_FILE`.
        message: First line of the commit.
        **about: What else the index says.

    Raises:
        HubError: If the Hub cannot be reached, refuses, or is still busy after some attempts.
    """
    _require_token()
    done: Future[Published] = Future()

    def work() -> None:
        try:
            done.set_result(_persist(target, files, message, about))
        except BaseException as error:
            done.set_exception(error)

    # Beside the main thread, which alone hears Ctrl-C, and not while hf_xet waits for a server.
    threading.Thread(target=work, daemon=True).start()
    return done.result()


def _persist(target: Target, files: Files, message: str, about: dict[str, Any]) -> Published:
    """Publishes, and tries again where that may help."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with hub_errors(target.repo):
                return _publish(HfApi(), target, files, message, about)
        except HubBusyError as error:
            if error.wait is None or attempt == ATTEMPTS:
                raise
            print(f"{error}; trying again in {error.wait:.0f} s")
            time.sleep(error.wait)
    raise AssertionError("unreachable")


def _require_token() -> None:
    token = get_token()
    if token is None:
        raise HubError(
            "no Hugging Face token: run `hf auth login`, or set HF_TOKEN to a token with write "
            "permission (https://huggingface.co/settings/tokens)"
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise HubError("HF_TOKEN is no token: it holds characters that tokens do not have")


def _publish(
    api: HfApi, target: Target, files: Files, message: str, about: dict[str, Any]
) -> Published:
    where = {"repo_id": target.repo, "repo_type": target.kind}
    parent = _prepare(api, target)
    there = {
        entry.path: entry
        for entry in api.list_repo_tree(**where, revision=parent, recursive=True)
        if isinstance(entry, RepoFile)
    }
    before = _index(where, parent) if INDEX_FILE in there else {}
    card = files[CARD_FILE]
    kept = (
        not target.overwrite_card
        and CARD_FILE in there
        and not _same(there[CARD_FILE], card)
        and _edited(api, where, target.revision, parent, before)
    )
    content: dict[str, Path | bytes] = {
        path: file for path, file in files.items() if path != CARD_FILE
    }
    index = {
        "format": INDEX_FORMAT,
        **about,
        "card_sha256": before.get("card_sha256") if kept else _sha256(card),
        "files": {
            path: {"bytes": len(_bytes(file)), "sha256": _sha256(file)}
            for path, file in sorted(content.items())
        },
    }
    content[INDEX_FILE] = (json.dumps(index, indent=2) + "\n").encode()
    if not kept:
        content[CARD_FILE] = card
    sent = sorted(
        path for path, file in content.items() if path not in there or not _same(there[path], file)
    )
    stale = sorted(
        path
        for path in before.get("files", {})
        if path in there and path not in content and path != CARD_FILE
    )
    if not sent and not stale:
        return Published(_url(target, parent), [], [], kept)
    commit = api.create_commit(
        **where,
        operations=[
            *(CommitOperationAdd(path, content[path]) for path in sent),
            *(CommitOperationDelete(path) for path in stale),
        ],
        commit_message=message,
        revision=target.revision,
        parent_commit=parent,
    )
    return Published(_url(target, commit.oid), sent, stale, kept)


def _prepare(api: HfApi, target: Target) -> str:
    """Returns the commit at the tip of the branch; makes repository and branch if need be."""
    where = {"repo_id": target.repo, "repo_type": target.kind}
    if not api.repo_exists(**where):
        try:
            api.create_repo(
                **where,
                private=True if target.private else None,  # None: as the owner has it set
                space_sdk="gradio" if target.kind == "space" else None,
            )
        except HfHubHTTPError as error:
            if error.response.status_code == 409:
                for other in _TYPES:
                    if other != target.kind and api.repo_exists(target.repo, repo_type=other):
                        raise HubError(
                            f"{target.repo} is a {other}, not a {target.kind}: choose another name"
                        ) from error
            raise
    try:
        info = api.repo_info(**where, revision=target.revision)
    except RevisionNotFoundError:
        api.create_branch(**where, branch=target.revision, exist_ok=True)
        info = api.repo_info(**where, revision=target.revision)
    if target.private and not info.private:
        raise HubError(
            f"{target.repo} is there already, and public: make it private in its settings, or "
            "leave out --private"
        )
    if info.sha == target.revision:
        raise HubError(f"revision must be a branch, received the commit {target.revision}")
    return str(info.sha)


def _index(where: dict[str, str], commit: str) -> dict[str, Any]:
    try:
        path = hf_hub_download(**where, filename=INDEX_FILE, revision=commit)
        return dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except (ValueError, TypeError):  # somebody edited it
        return {}


def _edited(
    api: HfApi, where: dict[str, str], revision: str, commit: str, before: dict[str, Any]
) -> bool:
    """Whether the card in the repository is not the one that was generated for it."""
    if not before:
        # The Hub's own first commit may hold a card; nobody has written one before the second.
        return len(api.list_repo_commits(**where, revision=revision)) > 1
    card = Path(hf_hub_download(**where, filename=CARD_FILE, revision=commit))
    return _sha256(card) != before.get("card_sha256")


def _same(there: RepoFile, file: Path | bytes) -> bool:
    if there.lfs is not None:
        return bool(there.lfs.sha256 == _sha256(file))
    return bool(there.blob_id == git_hash(_bytes(file)))


def _bytes(file: Path | bytes) -> bytes:
    return file if isinstance(file, bytes) else file.read_bytes()


def _sha256(file: Path | bytes) -> str:
    return hashlib.sha256(_bytes(file)).hexdigest()


def _url(target: Target, commit: str) -> str:
    prefix = constants.REPO_TYPES_URL_PREFIXES.get(target.kind, "")
    return f"{constants.ENDPOINT}/{prefix}{target.repo}/commit/{commit}"


def report(published: Published, target: Target) -> None:
    """Prints what was done, the commit's address last."""
    if published.card_kept:
        print(
            f"{CARD_FILE} of {target.repo} was edited by hand and stays; "
            "--overwrite-card replaces it"
        )
    if published.sent or published.deleted:
        print(f"sent {len(published.sent)} files, deleted {len(published.deleted)}")
    else:
        print("nothing has changed")
    print(published.url)


def show(files: Files) -> None:
    """Prints what would be published."""
    for path, file in sorted(files.items()):
        print(f"{len(_bytes(file)):>12,}  {path}")
    total = sum(len(_bytes(file)) for file in files.values())
    print(f"{total:>12,}  in {len(files)} files")
