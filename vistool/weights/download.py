"""A file from an address: what was cut off is gone on with, what is wrong is set aside, what is there is whole."""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from .. import __version__
from ..errors import WeightsError
from . import Say, cache

if TYPE_CHECKING:
    from hashlib import _Hash

TIMEOUT_S = 30.0  # without a single byte
LINE_EVERY_S = 30.0
_CHUNK = 1 << 18  # bytes
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_NO_MORE = re.compile(r"bytes \*/(\d+)")
_AGAIN = "run the same command again: it goes on where this stopped"


@dataclass(frozen=True, slots=True)
class Address:
    """What to download, and what is known of it. What is unknown is empty, or 0."""

    url: str
    name: str  # of what it is, for people
    sha256: str = ""
    size: int = 0  # bytes
    lasting: bool = False  # neither this address nor the name of the target will ever stand for other bytes
    headers: Mapping[str, str] = field(default_factory=dict)  # for this host; a redirection goes on without them
    hint: str = "check the address and the connection"  # where there is nothing to get


@dataclass(frozen=True, slots=True)
class _Answer:
    body: http.client.HTTPResponse
    start: int  # position in the file of its first byte
    total: int  # bytes of the whole file; 0: nobody says


def download(address: Address, target: Path, say: Say) -> str:
    """Fetch the file to `target` unless it is there; → its sha256.

    What arrives is `NAME.partial` until it is whole, and a later call goes on with it. What has not the expected hash
    becomes `NAME.wrong`. WeightsError for that, and for everything that can happen on the way.
    """
    with cache.locked(target):
        if target.is_file():
            arrived, digest = target, _hash_of(target).hexdigest()
        else:
            arrived = target.with_name(f"{target.name}.partial")
            digest = _receive(address, arrived, say)
        with cache.write_errors(target):
            if address.sha256 and digest != address.sha256:
                wrong = arrived.replace(target.with_name(f"{target.name}.wrong"))
                raise WeightsError(
                    f"weights are not the published file: `{address.name}` "
                    f"(sha256 is {digest[:12]}…, not {address.sha256[:12]}…)",
                    hint=f"what came is set aside as {wrong}; the same command fetches it anew",
                )
            arrived.replace(target)
    return digest


def _receive(address: Address, partial: Path, say: Say) -> str:
    """Bring the file to `partial`, or what is missing of it; → sha256 of the whole."""
    note = partial.with_name(f"{partial.name}.json")  # which state of the address the partial file comes from
    have = partial.stat().st_size if partial.is_file() else 0
    validator = str(cache.read_record(note).get("validator", ""))
    if not (validator or address.sha256 or address.lasting):
        have = 0  # nobody could tell whether the rest belongs to it
    answer = _ask(address, have, validator)
    if answer is None:
        digest = _hash_of(partial)
    else:
        with answer.body:
            cache.write_record(note, {"validator": _validator(answer.body)})
            _announce(address, answer, say)
            digest = _write(address, answer, partial, say)
    note.unlink(missing_ok=True)
    return digest.hexdigest()


def _ask(address: Address, have: int, validator: str) -> _Answer | None:
    """The answer to a request for what follows the first `have` bytes; None where these are all there is."""
    while True:
        try:
            body = _open(address, have, validator)
        except HTTPError as error:
            with error:
                if error.code != 416 or not have:
                    raise _refused(address, f"HTTP {error.code} {error.reason}") from error
                end = _NO_MORE.fullmatch(error.headers.get("Content-Range", ""))
            if end and int(end[1]) == have:
                return None
            have = 0
            continue
        if body.headers.get_content_type() == "text/html":
            body.close()
            raise _refused(address, "the answer is a web page")
        if body.status != 206:  # the whole file: so it was asked for, or it has changed, or the server knows no parts
            return _Answer(body, 0, int(body.headers.get("Content-Length") or address.size))
        part = _RANGE.fullmatch(body.headers.get("Content-Range", ""))
        if part and int(part[1]) == have:
            return _Answer(body, have, address.size if part[2] == "*" else int(part[2]))
        body.close()
        if not have:
            raise _refused(address, "the answer is a part that was not asked for")
        have = 0


def _open(address: Address, have: int, validator: str) -> http.client.HTTPResponse:
    if urlsplit(address.url).scheme not in ("http", "https"):
        raise _refused(address, "not an address of the web")
    request = Request(address.url, headers={"User-Agent": f"vistool/{__version__}"})
    if have:
        request.add_header("Range", f"bytes={have}-")
        if validator:
            request.add_header("If-Range", validator)
    for name, value in address.headers.items():
        request.add_unredirected_header(name, value)
    try:
        opened: http.client.HTTPResponse = urlopen(request, timeout=TIMEOUT_S)
    except HTTPError:
        raise
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise _refused(address, getattr(reason, "strerror", None) or str(reason) or type(reason).__name__) from error
    return opened


def _refused(address: Address, why: str) -> WeightsError:
    shown = address.url.partition("?")[0]
    return WeightsError(f"cannot fetch weights: `{address.name}` ({why}; from {shown})", hint=address.hint)


def _validator(body: http.client.HTTPResponse) -> str:
    """What tells this state of the address from another, as a later request may quote it."""
    tag = body.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else body.headers.get("Last-Modified", "")


def _announce(address: Address, answer: _Answer, say: Say) -> None:
    size = cache.megabytes(answer.total) if answer.total else "nobody says how large"
    resumed = f", of which {cache.megabytes(answer.start)} are here" if answer.start else ""
    say(f"fetching {address.name} from {urlsplit(address.url).netloc} ({size}{resumed})")


def _write(address: Address, answer: _Answer, partial: Path, say: Say) -> _Hash:
    """Append what comes as it comes, so that a kill loses none of it; WeightsError when it is not all."""
    position, total = answer.start, answer.total
    digest = _hash_of(partial) if position else hashlib.sha256()
    due = time.monotonic() + LINE_EVERY_S
    with cache.write_errors(partial), partial.open("ab" if position else "wb") as file:
        for chunk in _chunks(address, answer.body):
            file.write(chunk)
            file.flush()
            digest.update(chunk)
            position += len(chunk)
            if time.monotonic() >= due:
                due += LINE_EVERY_S
                say(f"{cache.megabytes(position)}{f' of {cache.megabytes(total)}' if total else ''} are here")
        os.fsync(file.fileno())
    if total and position != total:
        raise _cut_off(address, f"{position} of {total} bytes are here")
    return digest


def _chunks(address: Address, body: http.client.HTTPResponse) -> Iterator[bytes]:
    try:
        while chunk := body.read1(_CHUNK):
            yield chunk
    except (OSError, http.client.HTTPException) as error:
        raise _cut_off(address, str(error) or type(error).__name__) from error


def _cut_off(address: Address, why: str) -> WeightsError:
    return WeightsError(f"download was cut off: `{address.name}` ({why})", hint=_AGAIN)


def _hash_of(path: Path) -> _Hash:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")
