"""A small server on this machine that speaks as the hub does to huggingface_hub, and as other places that have files.

Large files of the hub are redirected to another host, as it does; what was asked for is kept.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest
from huggingface_hub import constants, hf_api

COMMIT = "c0ffee" + "0" * 34
LARGE = (".safetensors", ".bin", ".pth", ".pkl")
_RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_API = re.compile(r"/api/models/([^/]+/[^/]+)(?:/revision/[^/]+)?")


@dataclass
class Served:
    """A file, and how it is served."""

    content: bytes
    tag: str | None = None  # ETag; None: the sha256 of the content; empty: none at all
    parts: bool = True  # whether the server can go on in the middle
    kind: str = "application/octet-stream"
    cut_at: int | None = None  # bytes after which the connection is dropped, the next time
    held: threading.Event | None = None  # at `cut_at`, wait for this instead of dropping it
    status: int = 200
    shift: int = 0  # by which parts start too late

    @property
    def etag(self) -> str:
        return hashlib.sha256(self.content).hexdigest() if self.tag is None else self.tag


@dataclass
class Repo:
    """A repository at one commit, which is that of `main`."""

    files: dict[str, Served]
    commit: str = COMMIT
    card: dict[str, Any] | None = None
    refusal: tuple[int, str] | None = None  # status, and what X-Error-Code says
    terse: bool = False  # like a mirror: says nothing of repositories, and 404 without a reason


@dataclass
class Asked:
    """One request, complete as soon as the client can have seen the answer."""

    method: str
    path: str
    authorization: str | None
    start: int = 0  # of the part that was asked for
    sent: int = 0  # bytes of files


@dataclass
class FakeHub:
    """What is served, and what was asked for."""

    url: str
    repos: dict[str, Repo] = field(default_factory=dict)
    files: dict[str, Served] = field(default_factory=dict)  # by path, outside of any repository
    asked: list[Asked] = field(default_factory=list)

    def add(self, name: str, folder: Path, **facts: Any) -> Repo:
        """Serve the files of a folder as a repository."""
        files = {path.name: Served(path.read_bytes()) for path in folder.iterdir()}
        self.repos[name] = Repo(files, **facts)
        return self.repos[name]

    def bodies(self) -> list[Asked]:
        """The requests that were answered with bytes of large files."""
        return [each for each in self.asked if each.method == "GET" and each.path.endswith(LARGE) and each.sent]


def _handler(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            self._answer()

        def _answer(self) -> None:
            path = unquote(urlsplit(self.path).path)
            self.asked = Asked(self.command, path, self.headers.get("Authorization"))
            hub.asked.append(self.asked)
            if match := _API.fullmatch(path):
                self._describe(match[1])
            elif match := _RESOLVE.fullmatch(path):
                self._resolve(*match.groups())
            else:
                found = hub.files.get(path) or self._of_store(path)
                self._file(found, {}) if found else self._status(404)

        def _of_store(self, path: str) -> Served | None:
            """Where large files lie: /store/OWNER/NAME/FILE."""
            parts = path.removeprefix("/store/").split("/", 2)
            repo = hub.repos.get("/".join(parts[:2])) if path.startswith("/store/") else None
            return repo.files.get(parts[2]) if repo else None

        def _describe(self, name: str) -> None:
            repo = hub.repos.get(name)
            if repo is None or repo.refusal or repo.terse:
                return self._status(404, code="" if repo and repo.terse else "RepoNotFound")
            facts = {"id": name, "sha": repo.commit, "siblings": [], "cardData": repo.card}
            return self._body(json.dumps(facts).encode(), {"Content-Type": "application/json"})

        def _resolve(self, name: str, revision: str, file: str) -> None:
            repo = hub.repos.get(name)
            if repo is None:
                return self._status(404, code="RepoNotFound")
            if repo.refusal:
                return self._status(repo.refusal[0], code=repo.refusal[1])
            if revision not in ("main", repo.commit):
                return self._status(404, code="RevisionNotFound")
            found = repo.files.get(file)
            if found is None:
                known = {} if repo.terse else {"X-Repo-Commit": repo.commit}
                return self._status(404, code="" if repo.terse else "EntryNotFound", headers=known)
            facts = {"X-Repo-Commit": repo.commit}
            if file.endswith(LARGE):
                facts |= {"X-Linked-Etag": f'"{found.etag}"', "X-Linked-Size": str(len(found.content))}
                store = hub.url.replace("127.0.0.1", "localhost")
                return self._status(302, headers={**facts, "Location": f"{store}/store/{name}/{file}?signed=yes"})
            return self._file(found, facts)

        def _file(self, found: Served, facts: Mapping[str, str]) -> None:
            if found.status != 200:
                return self._status(found.status)
            headers = {**facts, "Content-Type": found.kind, **({"ETag": f'"{found.etag}"'} if found.etag else {})}
            whole = len(found.content)
            part = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            same = self.headers.get("If-Range", f'"{found.etag}"') == f'"{found.etag}"'
            if part and found.parts and same:
                self.asked.start = int(part[1]) + found.shift
                if self.asked.start >= whole:
                    return self._status(416, headers={"Content-Range": f"bytes */{whole}"})
                headers["Content-Range"] = f"bytes {self.asked.start}-{whole - 1}/{whole}"
            return self._body(found.content[self.asked.start :], headers, found, 206 if self.asked.start else 200)

        def _body(
            self, content: bytes, headers: Mapping[str, str], served: Served | None = None, status: int = 200
        ) -> None:
            self._status(status, headers={**headers, "Content-Length": str(len(content))})
            if self.command == "HEAD":
                return
            cut = served.cut_at if served else None
            if served is not None and cut is not None and cut > self.asked.start:
                self._send(content[: cut - self.asked.start])
                served.cut_at = None
                if served.held is None:
                    return
                served.held.wait(60)
                content = content[cut - self.asked.start :]
            self._send(content)

        def _send(self, content: bytes) -> None:
            self.asked.sent += len(content)
            self.wfile.write(content)
            self.wfile.flush()

        def _status(self, status: int, *, code: str = "", headers: Mapping[str, str] | None = None) -> None:
            self.send_response(status)
            for name, value in {**(headers or {}), **({"X-Error-Code": code} if code else {})}.items():
                self.send_header(name, value)
            if "Content-Length" not in (headers or {}):
                self.send_header("Content-Length", "0")
            self.end_headers()

    return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that leave early are what some tests are about."""


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """A server without files."""
    hub = FakeHub("")
    with _Server(("127.0.0.1", 0), _handler(hub)) as server:
        hub.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def in_its_place(patch: pytest.MonkeyPatch, folder: Path) -> Iterator[FakeHub]:
    """A server in the place of the hub, with empty caches in `folder`. The hub reads its variables at import, so its
    constants are replaced.
    """
    with fake_hub() as hub:
        for name in ("VISTOOL_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "VISTOOL_ACCEPT_LICENSE", "HF_TOKEN"):
            patch.delenv(name, raising=False)
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            patch.delenv(name, raising=False)
        patch.setenv("VISTOOL_CACHE", str(folder / "cache"))
        patch.setattr(constants, "ENDPOINT", hub.url)
        patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.url + "/{repo_id}/resolve/{revision}/{filename}")
        patch.setattr(constants, "HF_HUB_CACHE", str(folder / "hub"))
        patch.setattr(constants, "HF_TOKEN_PATH", str(folder / "token"))
        patch.setattr(constants, "HF_HUB_OFFLINE", False)
        patch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", False)
        patch.setattr(hf_api.api, "endpoint", hub.url)
        try:
            yield hub
        finally:
            huggingface_hub.close_session()


def block_sockets(patch: pytest.MonkeyPatch) -> None:
    """From here on any connection is a failure."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    for name in ("connect", "connect_ex"):
        patch.setattr(socket.socket, name, refuse)
    patch.setattr(socket, "getaddrinfo", refuse)
