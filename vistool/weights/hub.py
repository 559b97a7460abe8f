"""Repositories of the hub: which of their files are weights, and how these get into the hub's own cache.

huggingface_hub knows the protocol, the token and the layout of its cache. The bytes come by `download`, which goes on
with what a killed process left and compares the hash; huggingface_hub 2 does neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, cast
from urllib.parse import urlsplit

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..errors import WeightsError
from . import Say, cache, quiet
from .download import Address, download

CONFIG = "config.json"
STANDARD = ("model.safetensors", "pytorch_model.bin")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TRANSPORT_ERROR = cast("type[Exception]", HfHubHTTPError.__bases__[0])  # of whichever client the hub is built on


@dataclass(frozen=True, slots=True)
class HubFile:
    """One file of a repository."""

    name: str
    url: str  # of its bytes
    tag: str  # what the hub's cache knows it by: the sha256 of a large file
    size: int  # bytes; 0: unknown

    @property
    def sha256(self) -> str:
        """As the hub states it; empty for small files."""
        return self.tag if _SHA256.fullmatch(self.tag) else ""


class Repository:
    """A repository at a revision, and at the commit that this stands for, once one of its files was seen."""

    def __init__(self, name: str, revision: str) -> None:
        constants.HF_HUB_DISABLE_TELEMETRY = True  # else the first request tells of this machine and asks for more
        self.name = name
        self.revision = revision or constants.DEFAULT_REVISION
        self.commit = self.revision

    def weights(self, file: str) -> list[HubFile]:
        """`file`, or else the standard files, weights first; and the config beside them, where there is one."""
        config = self.look(str(PurePosixPath(file).with_name(CONFIG)) if file else CONFIG)
        found = [self._need(file)] if file else self._standard()
        return found if config is None else [*found, config]

    def look(self, file: str) -> HubFile | None:
        """What the hub says of a file; None where there is none."""
        if {"", ".", ".."} & {*file.split("/")}:  # it would lead out of the repository
            return None
        with self._clear_errors():
            url = huggingface_hub.hf_hub_url(self.name, file, revision=self.commit)
            try:
                found = huggingface_hub.get_hf_file_metadata(url)
            except RemoteEntryNotFoundError:
                return None
            except HfHubHTTPError as error:
                if type(error) is HfHubHTTPError and error.response.status_code == 404:  # a mirror that says no more
                    return None
                raise
        if not (found.commit_hash and found.etag and "/" not in found.etag):
            raise WeightsError(f"not a hub: `{_host()}` (its answer names no commit)", hint="check HF_ENDPOINT")
        if self.revision == self.commit != found.commit_hash:
            self.commit = found.commit_hash  # from here on, so that all files are of one, whatever is pushed meanwhile
            return self.look(file)
        return HubFile(file, found.location, found.etag, found.size or 0)

    def fetch(self, file: HubFile, say: Say) -> Path:
        """The file in the hub's cache, where every program finds it."""
        with self._clear_errors():
            own_host = urlsplit(file.url).netloc == _host()
            address = Address(
                file.url,
                f"hf:{self.name}/{file.name}",
                sha256=file.sha256,
                size=file.size,
                lasting=True,
                headers=_authorization() if own_host else {},
            )
            download(address, _folder(self.name) / "blobs" / file.tag, quiet if file.name.endswith(".json") else say)
            path = Path(huggingface_hub.hf_hub_download(self.name, file.name, revision=self.revision))
        if path != self._snapshot(file.name):
            raise WeightsError(
                f"repository has changed meanwhile: `hf:{self.name}` (at {self.revision})", hint="run the command again"
            )
        return path

    def licence(self) -> str:
        """As the card of the repository states it; empty where it states none."""
        with self._clear_errors():
            try:
                found = huggingface_hub.model_info(
                    self.name, revision=self.commit, timeout=constants.HF_HUB_ETAG_TIMEOUT
                )
            except (HfHubHTTPError, ValueError, KeyError):  # a mirror may have files and know nothing of them
                return ""
        stated: Any = found.card_data.get("license") if found.card_data else None
        return ", ".join(stated) if isinstance(stated, list) else str(stated or "")

    def absent(self, what: str) -> WeightsError:
        """For files that the hub has not got."""
        return WeightsError(
            f"no weights in the repository: `hf:{self.name}` (it has no {what})",
            hint=f"look at {constants.ENDPOINT}/{self.name}, and name the file: hf:{self.name}/FILE",
        )

    def _snapshot(self, file: str) -> Path:
        return _folder(self.name) / "snapshots" / self.commit / file

    def _need(self, file: str) -> HubFile:
        found = self.look(file)
        if found is None:
            raise self.absent(file)
        return found

    def _standard(self) -> list[HubFile]:
        """The file, or the shards and their index, of the first kind that is there."""
        for name in STANDARD:
            if whole := self.look(name):
                return [whole]
            if index := self.look(f"{name}.index.json"):
                named = cache.read_record(self.fetch(index, quiet)).get("weight_map")
                shards = sorted({str(shard) for shard in named.values()}) if isinstance(named, dict) else []
                return [*map(self._need, shards), index]
        raise self.absent(f"{' or '.join(STANDARD)}, whole or in shards")

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        """Turn what the hub and the network say into one clear line, with what to do about it."""
        name = f"hf:{self.name}"
        try:
            yield
        except HFValidationError as error:
            raise WeightsError(f"not the name of a repository: `{self.name}`", hint="hf:OWNER/NAME") from error
        except GatedRepoError as error:
            raise WeightsError(
                f"repository is gated: `{name}` (its owner decides who may fetch it)",
                hint=f"ask for access at {constants.ENDPOINT}/{self.name}, then set HF_TOKEN",
            ) from error
        except RevisionNotFoundError as error:
            raise WeightsError(
                f"no such revision: `{self.commit}` (of {name})", hint="give a branch, a tag or a commit after @"
            ) from error
        except RepositoryNotFoundError as error:
            raise WeightsError(
                f"repository not found: `{name}` (it does not exist, or is private)",
                hint="check the name; for a private one, set HF_TOKEN",
            ) from error
        except HfHubHTTPError as error:
            status = error.response.status_code
            hint = "set HF_TOKEN to a token that may read it" if status in (401, 403) else "try again later"
            raise WeightsError(
                f"the hub refuses: `{name}` (HTTP {status} {error.response.reason_phrase})", hint=hint
            ) from error
        except (_TRANSPORT_ERROR, OSError) as error:
            told = " ".join(str(error).split()) or type(error).__name__
            raise WeightsError(
                f"cannot reach the hub: `{_host()}` ({told})", hint="check the connection, HF_ENDPOINT and the proxy"
            ) from error


class CachedRepository(Repository):
    """What any program has fetched of a repository before. Asks nobody."""

    def look(self, file: str) -> HubFile | None:
        found = huggingface_hub.try_to_load_from_cache(self.name, file, revision=self.commit)
        if not isinstance(found, str):
            return None
        self.commit = Path(found).relative_to(_folder(self.name) / "snapshots").parts[0]
        return HubFile(file, "", Path(found).resolve().name, Path(found).stat().st_size)

    def fetch(self, file: HubFile, say: Say) -> Path:
        return self._snapshot(file.name)

    def licence(self) -> str:
        return ""

    def absent(self, what: str) -> WeightsError:
        return WeightsError(
            f"weights are not at hand: `hf:{self.name}` (offline, and the hub's cache has no {what})",
            hint="run once without --offline, HF_HUB_OFFLINE and their like",
        )


def remove(name: str, files: Iterable[Path]) -> int:
    """Take files of a repository out of the hub's cache, and unfinished downloads; → bytes that this freed.

    What another commit has too, or another program has fetched, stays.
    """
    blobs, snapshots = _folder(name) / "blobs", _folder(name) / "snapshots"
    freed = cache.remove([*blobs.glob("*.partial*"), *blobs.glob("*.wrong")])
    contents = {file.resolve() for file in files if file.is_file()}
    freed += cache.remove(file for file in files if not file.is_symlink())
    for link in files:
        with cache.write_errors(link):
            link.unlink(missing_ok=True)
    left = [file for file in snapshots.rglob("*") if file.is_file()]
    freed += cache.remove(contents - {file.resolve() for file in left})
    return freed if left else freed + cache.remove([_folder(name)])


def _folder(name: str) -> Path:
    """Of a repository, in the hub's cache."""
    return Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}"


def _authorization() -> dict[str, str]:
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else huggingface_hub.get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def _host() -> str:
    return urlsplit(constants.ENDPOINT).netloc
