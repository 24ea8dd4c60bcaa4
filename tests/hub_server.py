"""A Hugging Face Hub in a thread: the routes that huggingface_hub 2.4 uses here, over real sockets.

It keeps repositories, commits and branches in memory, takes large files by Git LFS (batch, upload,
verify) at an address of another origin, as the Hub's storage is, and can be told to fail.

Xet, which the real Hub prefers, has chunks, hashes and shards in formats that only hf_xet makes. Of
it there is as much here as takes an upload: a client with Xet on is told that each block of chunks
is known already, and a commit needs a shard that names the file's hash. Nothing can be fetched
back, so all other clients run with ``HF_HUB_DISABLE_XET=1``; what the project calls is the same
`HfApi.create_commit` and `hf_hub_download`, which choose the transport by themselves.
"""

import base64
import contextlib
import hashlib
import itertools
import json
import os
import re
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

KINDS = {"models": "model", "datasets": "dataset", "spaces": "space"}
WRITER, READER = "hf_alicesSecretToWrite", "hf_alicesSecretToRead"
GITATTRIBUTES = b"*.tflite filter=lfs diff=lfs merge=lfs -text\n"
_REGULAR_BYTES = 10_000_000


@dataclass(frozen=True)
class Entry:
    """A file of a commit; a large one is by its hash in `LocalHub.storage`."""

    content: bytes
    sha256: str | None = None
    size: int = 0

    @property
    def oid(self) -> str:
        blob = b"blob %d\0" % len(self.content) + self.content
        return hashlib.sha1(blob).hexdigest()


@dataclass(frozen=True)
class Commit:
    oid: str
    title: str
    files: dict[str, Entry]
    parent: "Commit | None"

    @property
    def history(self) -> list["Commit"]:
        return [self, *(self.parent.history if self.parent else [])]


@dataclass
class Repo:
    private: bool
    branches: dict[str, Commit]
    commits: dict[str, Commit] = field(default_factory=dict)

    def find(self, revision: str) -> Commit | None:
        return self.branches.get(revision) or self.commits.get(revision)


@dataclass
class Fault:
    """Something that goes wrong.

    Attributes:
        pattern: Of ``METHOD PATH``.
        kind: A status to answer; a function to call before all goes on as usual; or ``cut`` (the
            connection breaks halfway through what is sent or answered), ``lose`` (it is done, and
            the answer lost), ``hang`` and ``hang after`` (it is not done, it is done, and no answer
            comes).
        times: How often.
        headers: Of the answer with that status.
        reached: Set when it happens.
    """

    pattern: str
    kind: int | str | Callable[[], None]
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    reached: threading.Event = field(default_factory=threading.Event)


class RefusedError(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


class LocalHub:
    """The Hub's state.

    Attributes:
        url: What ``HF_ENDPOINT`` must be.
        requests: ``METHOD PATH`` of each request, in order.
        received: How many bytes came as large files.
        trespasses: Requests to the storage that carried a token.
        conflict: Status where the parent is not the tip: 412, as the Hub answers today, or 409.
    """

    def __init__(self) -> None:
        self.repos: dict[tuple[str, str], Repo] = {}
        self.storage: dict[str, bytes] = {}
        self.verified: set[str] = set()
        self.shards = b""
        self.users = {WRITER: "alice"}
        self.readers = {READER: "alice"}
        self.faults: list[Fault] = []
        self.requests: list[str] = []
        self.received = 0
        self.trespasses: list[str] = []
        self.conflict = 412
        self.lock = threading.RLock()
        self._released = threading.Event()
        self._numbers = itertools.count(1)
        hub = self

        class Handler(_Handler):
            server_hub = hub

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        # Another origin, to which no token may go.
        self.storage_url = f"http://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> "LocalHub":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def environment(
        self, home: Path, token: str | None = WRITER, *, xet: bool = False
    ) -> dict[str, str]:
        """Returns the environment of a process that uses this Hub."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return {
            **kept,
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": str(int(not xet)),  # see the top
            "HF_HUB_DISABLE_TELEMETRY": "1",
            **({"HF_TOKEN": token} if token else {}),
        }

    def fail(
        self, pattern: str, kind: int | str | Callable[[], None], times: int = 1, **headers: str
    ) -> Fault:
        """Makes the next requests that match fail; ``Retry_After="1"`` adds that header."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults.append(Fault(pattern, kind, times, named))
        return self.faults[-1]

    def hold(self, fault: Fault) -> None:
        fault.reached.set()
        self._released.wait(60)

    def create(self, kind: str, name: str, *, private: bool = False, **files: bytes) -> Repo:
        first = self.commit_of("initial commit", {".gitattributes": Entry(GITATTRIBUTES)}, None)
        repo = Repo(private, {"main": first}, {first.oid: first})
        self.repos[kind, name] = repo
        if kind == "space":
            self.write(repo, "initial commit", {"README.md": b"---\nsdk: gradio\n---\n"})
            only = repo.branches["main"]
            repo.branches["main"] = Commit(only.oid, only.title, only.files, None)
        if files:
            self.write(repo, "by hand", files)
        return repo

    def write(self, repo: Repo, title: str, files: dict[str, bytes], branch: str = "main") -> None:
        """Commits small files, as somebody does on the Hub's page."""
        parent = repo.branches[branch]
        new = {path: Entry(content) for path, content in files.items()}
        self.advance(repo, branch, self.commit_of(title, {**parent.files, **new}, parent))

    def fill(self, name: str, files: dict[str, bytes], *, replace: bool = False) -> None:
        """Commits files to a model, the binary ones as large files."""
        repo = self.repos["model", name]
        parent = repo.branches["main"]
        entries = {} if replace else dict(parent.files)
        for path, content in files.items():
            if b"\0" in content:
                digest = hashlib.sha256(content).hexdigest()
                self.storage[digest] = content
                self.verified.add(digest)
                entries[path] = Entry(f"oid sha256:{digest}\n".encode(), digest, len(content))
            else:
                entries[path] = Entry(content, size=len(content))
        self.advance(repo, "main", self.commit_of("filled", entries, parent))

    def commit_of(self, title: str, files: dict[str, Entry], parent: Commit | None) -> Commit:
        oid = hashlib.sha1(f"{title} {next(self._numbers)}".encode()).hexdigest()
        return Commit(oid, title, files, parent)

    def advance(self, repo: Repo, branch: str, commit: Commit) -> None:
        repo.branches[branch] = commit
        repo.commits[commit.oid] = commit

    def files(self, name: str, kind: str = "model", revision: str = "main") -> dict[str, bytes]:
        """Returns what a repository holds, large files too."""
        commit = self.repos[kind, name].branches[revision]
        return {path: self.content(entry) for path, entry in commit.files.items()}

    def content(self, entry: Entry) -> bytes:
        return entry.content if entry.sha256 is None else self.storage[entry.sha256]

    def titles(self, name: str, kind: str = "model", revision: str = "main") -> list[str]:
        """Returns the commits of a branch, oldest first."""
        return [commit.title for commit in self.repos[kind, name].branches[revision].history][::-1]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    disable_nagle_algorithm = True  # which would hold each answer back for 0.04 s
    server_hub: LocalHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do(self) -> None:
        hub = self.server_hub
        split = urlsplit(self.path)
        self.route, self.query = unquote(split.path), parse_qs(split.query)
        line = f"{self.command} {self.route}"
        with hub.lock:
            hub.requests.append(line)
            fault = next((f for f in hub.faults if f.times and re.search(f.pattern, line)), None)
            if fault:
                fault.times -= 1
        length = int(self.headers.get("Content-Length") or 0)
        if fault and fault.kind == "cut" and length:
            self.rfile.read(length // 2)
            return self.cut(fault)
        self.body = self.rfile.read(length)
        if fault and fault.kind == "hang":
            return hub.hold(fault)
        if fault and callable(fault.kind):
            fault.kind()
            fault = None
        if fault and isinstance(fault.kind, int):
            fault.reached.set()
            return self.answer(fault.kind, {"error": "told to fail"}, fault.headers)
        try:
            with hub.lock:
                status, content, headers = self.respond()
        except RefusedError as error:
            extra = {"X-Error-Message": error.message}
            if error.code:
                extra["X-Error-Code"] = error.code
            return self.answer(error.status, {"error": error.message}, extra)
        if fault and fault.kind == "lose":
            return self.cut(fault)
        if fault and fault.kind == "hang after":
            return hub.hold(fault)
        return self.answer(status, content, headers, fault)

    do_GET = do_HEAD = do_POST = do_PUT = do  # noqa: N815 - the base class's names

    def cut(self, fault: Fault) -> None:
        fault.reached.set()
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def answer(
        self,
        status: int,
        content: Any,
        headers: dict[str, str] | None = None,
        fault: Fault | None = None,
    ) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        headers = {"Content-Length": str(len(body)), **(headers or {})}
        if not isinstance(content, bytes):
            headers["Content-Type"] = "application/json"
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return None
        if fault:
            self.wfile.write(body[: len(body) // 2])
            return self.cut(fault)
        self.wfile.write(body)
        return None

    def respond(self) -> tuple[int, Any, dict[str, str]]:
        for method, pattern, function in _ROUTES:
            found = re.fullmatch(pattern, self.route)
            if found and self.command in method.split():
                result = function(self, **found.groupdict())
                return result if isinstance(result, tuple) else (200, result, {})
        raise RefusedError(404, f"no route {self.command} {self.route}")

    # Who is asking, and what for

    def token(self) -> str | None:
        return (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None

    def user(self) -> str | None:
        token = self.token()
        if token is None:
            return None
        known = {**self.server_hub.users, **self.server_hub.readers}
        if token not in known:
            # Repeats what it was sent, as a careless proxy might.
            raise RefusedError(401, f"Invalid credentials in Authorization header: {token}")
        return known[token]

    def repo(self, kinds: str, name: str) -> Repo:
        user = self.user()
        repo = self.server_hub.repos.get((KINDS[kinds], name))
        if repo is None or (repo.private and user != name.split("/")[0]):
            status = 404 if user else 401
            raise RefusedError(status, "Repository not found", "RepoNotFound")
        return repo

    def require_write(self, name: str) -> None:
        user = self.user()
        if user is None:
            raise RefusedError(401, "Invalid username or password.")
        if self.token() in self.server_hub.readers or user != name.split("/")[0]:
            raise RefusedError(403, f"You don't have the rights to write to {name}")

    def commit_at(self, repo: Repo, revision: str) -> Commit:
        commit = repo.find(revision)
        if commit is None:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def json(self) -> Any:
        return json.loads(self.body)

    # Repositories

    def create_repo(self) -> Any:
        hub, asked = self.server_hub, self.json()
        name, kind = f"{asked['organization']}/{asked['name']}", asked.get("type", "model")
        self.require_write(name)
        url = f"{hub.url}/{'' if kind == 'model' else kind + 's/'}{name}"
        for other in KINDS.values():
            if (other, name) in hub.repos:
                return 409, {"error": f"You already created this {other} repo", "url": url}, {}
        if kind == "space" and asked.get("sdk") != "gradio":
            raise RefusedError(400, "a Space needs an sdk")
        hub.create(kind, name, private=asked.get("visibility") == "private")
        return {"url": url}

    def validate(self) -> Any:
        asked = self.json()
        found = re.match(r"---\n(.*?)\n---\n", asked["content"], re.DOTALL)
        try:
            metadata = yaml.safe_load(found[1]) if found else None
        except yaml.YAMLError as error:
            return 400, {"errors": [{"message": str(error)}], "warnings": []}, {}
        if not isinstance(metadata, dict):
            return 400, {"errors": [{"message": "no metadata"}], "warnings": []}, {}
        wanted = ("sdk", "app_file") if asked["repoType"] == "space" else ("license",)
        missing = [{"message": f"{key} is missing"} for key in wanted if key not in metadata]
        return (400 if missing else 200), {"errors": missing, "warnings": []}, {}

    def info(self, kinds: str, name: str, revision: str = "main") -> Any:
        repo = self.repo(kinds, name)
        commit = self.commit_at(repo, revision)
        siblings = [{"rfilename": path} for path in commit.files]
        return {"id": name, "sha": commit.oid, "private": repo.private, "siblings": siblings}

    def tree(self, kinds: str, name: str, revision: str) -> Any:
        commit = self.commit_at(self.repo(kinds, name), revision)
        rows = []
        for path, entry in sorted(commit.files.items()):
            row = {"type": "file", "path": path, "oid": entry.oid, "size": entry.size}
            if entry.sha256:
                row["lfs"] = {"oid": entry.sha256, "size": entry.size, "pointerSize": 130}
            rows.append(row)
        # Two pages, as the Hub has for long listings.
        half, second = len(rows) // 2, "cursor" in self.query
        if second or half == 0:
            return rows[half:]
        after = f'<{self.server_hub.url}{self.path}&cursor=2>; rel="next"'
        return 200, rows[:half], {"Link": after}

    def commits(self, kinds: str, name: str, revision: str) -> Any:
        commit = self.commit_at(self.repo(kinds, name), revision)
        return [
            {
                "id": one.oid,
                "authors": [{"user": "alice"}],
                "date": "2026-01-01T00:00:00.000Z",
                "title": one.title,
                "message": "",
            }
            for one in commit.history
        ]

    def branch(self, kinds: str, name: str, branch: str) -> Any:
        repo = self.repo(kinds, name)
        self.require_write(name)
        if branch in repo.branches:
            raise RefusedError(409, f"Reference already exists: {branch}")
        repo.branches[branch] = repo.branches["main"]
        return {}

    # Commits

    def preupload(self, kinds: str, name: str, revision: str) -> Any:
        repo = self.repo(kinds, name)
        self.require_write(name)
        there = self.commit_at(repo, revision).files
        answers = []
        for file in self.json()["files"]:
            sample = base64.b64decode(file["sample"])
            large = b"\0" in sample or file["size"] > _REGULAR_BYTES
            entry = there.get(file["path"])
            row = {
                "path": file["path"],
                "uploadMode": "lfs" if large else "regular",
                "shouldIgnore": False,
            }
            if entry:
                row["oid"] = entry.sha256 or entry.oid
            answers.append(row)
        return {"files": answers}

    def commit(self, kinds: str, name: str, revision: str) -> Any:
        hub, repo = self.server_hub, self.repo(kinds, name)
        self.require_write(name)
        lines = [json.loads(line) for line in self.body.splitlines()]
        header, operations = lines[0]["value"], lines[1:]
        if revision not in repo.branches:
            raise RefusedError(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        parent = repo.branches[revision]
        if header.get("parentCommit", parent.oid) != parent.oid:
            raise RefusedError(
                hub.conflict, "A commit has happened since. Please refresh and try again"
            )
        files = dict(parent.files)
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                content = base64.b64decode(value["content"])
                files[value["path"]] = Entry(content, size=len(content))
            elif operation["key"] == "lfsFile":
                if value["oid"] not in hub.verified and _in_shard(value["oid"]) not in hub.shards:
                    raise RefusedError(400, f"{value['path']} was not uploaded")
                pointer = f"oid sha256:{value['oid']}\nsize {value['size']}\n".encode()
                files[value["path"]] = Entry(pointer, value["oid"], value["size"])
            elif operation["key"] == "deletedFile":
                del files[value["path"]]
        commit = hub.commit_of(header["summary"], files, parent)
        hub.advance(repo, revision, commit)
        return {"commitUrl": f"{hub.url}/{name}/commit/{commit.oid}", "commitOid": commit.oid}

    # Large files

    def batch(self, kinds: str | None, name: str) -> Any:
        hub = self.server_hub
        self.repo(kinds or "models", name)
        self.require_write(name)
        objects = []
        for wanted in self.json()["objects"]:
            row = {"oid": wanted["oid"], "size": wanted["size"]}
            if wanted["oid"] not in hub.verified:
                row["actions"] = {
                    "upload": {"href": f"{hub.storage_url}/storage/{wanted['oid']}?signature=x"},
                    "verify": {"href": f"{hub.url}/verify/{name}"},
                }
            objects.append(row)
        return {"transfer": "basic", "objects": objects}

    def upload(self, oid: str) -> Any:
        self.refuse_token()
        if hashlib.sha256(self.body).hexdigest() != oid:
            raise RefusedError(400, "the content has another hash")
        self.server_hub.storage[oid] = self.body
        self.server_hub.received += len(self.body)
        return {}

    def verify(self, name: str) -> Any:
        self.require_write(name)
        asked = self.json()
        if len(self.server_hub.storage.get(asked["oid"], b"")) != asked["size"]:
            raise RefusedError(404, "not there")
        self.server_hub.verified.add(asked["oid"])
        return {}

    def stored(self, oid: str) -> Any:
        self.refuse_token()
        content, headers = self.server_hub.storage[oid], {"ETag": f'"{oid}"'}
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if asked:
            start = int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return 206, content[start:], headers
        return 200, content, headers

    def refuse_token(self) -> None:
        if self.token() not in (None, "xet"):
            self.server_hub.trespasses.append(f"{self.command} {self.route}")

    # Xet

    def xet_token(self, kinds: str, name: str, revision: str) -> Any:
        self.repo(kinds, name)
        self.require_write(name)
        return {"casUrl": self.server_hub.storage_url, "accessToken": "xet", "exp": 4102444800}

    def xet_unknown(self) -> Any:
        raise RefusedError(404, "no such chunk")

    def xet_known(self) -> Any:
        self.refuse_token()
        return {"was_inserted": True}

    def xet_shard(self) -> Any:
        self.refuse_token()
        self.server_hub.shards += self.body
        return 200, b'{"type": "result", "result": 1}\n', {"Content-Type": "application/x-ndjson"}

    def resolve(self, kinds: str | None, name: str, revision: str, path: str) -> Any:
        hub, repo = self.server_hub, self.repo(kinds or "models", name)
        commit = self.commit_at(repo, revision)
        headers = {"X-Repo-Commit": commit.oid}
        entry = commit.files.get(path)
        if entry is None:
            raise RefusedError(404, f"{path} does not exist", "EntryNotFound")
        if entry.sha256 is None:
            return 200, entry.content, {**headers, "ETag": f'"{entry.oid}"'}
        headers["X-Linked-Etag"] = f'"{entry.sha256}"'
        headers["X-Linked-Size"] = str(entry.size)
        headers["Location"] = f"{hub.storage_url}/storage/{entry.sha256}?signature=x"
        return 302, b"", headers


def _in_shard(sha256: str) -> bytes:
    """Returns a hash as a shard holds it: four numbers of eight bytes, the last byte first."""
    raw = bytes.fromhex(sha256)
    return b"".join(raw[start : start + 8][::-1] for start in range(0, 32, 8))


_REPO = r"(?P<name>[\w.-]+/[\w.-]+)"
_API = rf"/api/(?P<kinds>models|datasets|spaces)/{_REPO}"
_WEB = rf"/(?:(?P<kinds>datasets|spaces)/)?{_REPO}"
_ROUTES = (
    ("POST", "/api/repos/create", _Handler.create_repo),
    ("POST", "/api/validate-yaml", _Handler.validate),
    ("GET", _API, _Handler.info),
    ("GET", _API + "/revision/(?P<revision>.+)", _Handler.info),
    ("GET", _API + "/tree/(?P<revision>.+)", _Handler.tree),
    ("GET", _API + "/commits/(?P<revision>.+)", _Handler.commits),
    ("POST", _API + "/branch/(?P<branch>.+)", _Handler.branch),
    ("POST", _API + "/preupload/(?P<revision>.+)", _Handler.preupload),
    ("POST", _API + "/commit/(?P<revision>.+)", _Handler.commit),
    ("POST", _WEB + r"\.git/info/lfs/objects/batch", _Handler.batch),
    ("PUT", "/storage/(?P<oid>[0-9a-f]{64})", _Handler.upload),
    ("GET HEAD", "/storage/(?P<oid>[0-9a-f]{64})", _Handler.stored),
    ("POST", f"/verify/{_REPO}", _Handler.verify),
    ("GET", _API + "/xet-write-token/(?P<revision>.+)", _Handler.xet_token),
    ("GET", "/v1/chunks/.+", _Handler.xet_unknown),
    ("POST", "/v1/xorb-grants/.+", _Handler.xet_known),
    ("POST", "/v2/shards", _Handler.xet_shard),
    ("GET HEAD", _WEB + "/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler.resolve),
)
