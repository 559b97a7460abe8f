"""From an entry of weights.toml, or an `hf:` address, to files on this machine. SOURCES says who fetches what.

Every source is asked once: what it gave is written down in the cache, and later runs ask nobody.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from urllib.parse import urlencode

from ..errors import WeightsError
from . import Permissions, Say, cache, licences, registry
from .checkpoint import sha256_of
from .download import Address, download
from .registry import Entry

GDRIVE = "https://drive.usercontent.google.com"
_GDRIVE_VARIABLE = "VISTOOL_GDRIVE_ENDPOINT"
_OFFLINE_VARIABLES = ("VISTOOL_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_TRUE = ("1", "on", "yes", "true")
_HUB_ADDRESS = re.compile(r"hf:([\w.-]+/[\w.-]+)(?:/([^@]+))?(?:@(.+))?")
_CONFIG = "config.json"


@dataclass(frozen=True, slots=True)
class Fetched:
    """A checkpoint as its authors publish it, on this machine."""

    path: Path  # the file, or the folder in the layout of the hub
    files: tuple[Path, ...]  # all that there is of it
    sha256: str  # of the file of weights; of several, over their sorted hashes
    config_sha256: str  # of the config.json beside it; empty where there is none
    origin: str  # where it came from: the `parent` of what it is converted to
    licence: str = ""  # as its source states it; empty where it does not

    @property
    def is_there(self) -> bool:
        """Whether nobody has removed it since."""
        return all(file.is_file() for file in self.files)


def is_offline(permissions: Permissions) -> bool:
    """Whether nothing may be fetched: it was asked for, or one of the usual variables says so."""
    return permissions.offline or any(os.environ.get(name, "").lower() in _TRUE for name in _OFFLINE_VARIABLES)


def hub_entry(address: str) -> Entry:
    """An entry for `hf:owner/name[/file][@revision]`, with what weights.toml knows of it; its `layout` is empty where
    that is nothing.
    """
    match = _HUB_ADDRESS.fullmatch(address)
    if match is None:
        raise WeightsError(f"not an address of the hub: `{address}`", hint="hf:OWNER/NAME[/FILE][@REVISION]")
    repo, file, revision = match[1], match[2] or "", match[3] or ""
    known = [entry for entry in registry.entries().values() if entry.source == "hf" and entry.repo == repo]
    same = next((entry for entry in known if entry.file == file), None)
    if same is not None:
        return same if same.revision == revision else replace(same, key=address, revision=revision, sha256="", size=0)
    return Entry(
        key=address,
        method="",
        preset="",
        source="hf",
        file=file,
        repo=repo,
        revision=revision,
        layout="",
        licence=known[0].licence if known else "",  # of the repository, whichever of its files
        free=bool(known) and known[0].free,
        categories=(),
    )


def fetch(entry: Entry, permissions: Permissions, say: Say) -> Fetched:
    """The files of an entry that is not bundled; nobody is asked for what is there.

    WeightsError when the licence was not accepted, when the files cannot be had, or are not what weights.toml says.
    """
    if known := recorded(entry):
        check_licence(entry, known, permissions)
        if known.is_there:
            return known
    elif entry.licence:
        _require(entry, entry.licence, permissions)
    folder = cache.fetched_folder(entry.key)
    if known is None and (folder / cache.RECORD).exists():  # of the entry as it was in another version of weights.toml
        cache.remove([folder])
    fetched = SOURCES[entry.source](entry, permissions, say)
    if entry.sha256 and fetched.sha256 != entry.sha256:
        raise WeightsError(
            f"weights are not the published file: `{entry.key}` "
            f"(sha256 of {fetched.path} is {fetched.sha256[:12]}…, not {entry.sha256[:12]}…)",
            hint="put the right file there, or give this one by its path to use it all the same",
        )
    record = {**asdict(fetched), "path": str(fetched.path), "files": [str(file) for file in fetched.files]}
    cache.write_record(folder / cache.RECORD, {**record, "asked_for": _asked_for(entry)})
    return fetched


def recorded(entry: Entry) -> Fetched | None:
    """What was fetched before for the entry as it is now. Its files may have been removed since."""
    known = remembered(entry.key)
    return known[0] if known and known[1] == _asked_for(entry) else None


def remembered(name: str) -> tuple[Fetched, Mapping[str, str]] | None:
    """What was fetched under a key or an address, and the fields of the entry that decided it."""
    record = dict(cache.read_record(cache.fetched_folder(name) / cache.RECORD))
    try:
        asked_for = record.pop("asked_for")
        files = tuple(map(Path, record["files"]))
        return Fetched(**{**record, "path": Path(record["path"]), "files": files}), asked_for
    except (KeyError, TypeError):  # there is none, or another version of vistool wrote it
        return None


def check_licence(entry: Entry, fetched: Fetched, permissions: Permissions) -> None:
    """WeightsError unless the licence allows every use, or was accepted."""
    _require(entry, entry.licence or fetched.licence, permissions)


def is_unchanged(fetched: Fetched) -> bool:
    """Whether the files still have the hashes that they had when they were fetched."""
    return _described(fetched.path, fetched.files, origin=fetched.origin, licence=fetched.licence) == fetched


def local(path: Path) -> Fetched:
    """A file, or a folder in the layout of the hub, that somebody has."""
    folder = path if path.is_dir() else path.parent
    files = (
        sorted(each for each in path.iterdir() if each.suffix in (".safetensors", ".bin")) if folder == path else [path]
    )
    config = folder / _CONFIG
    found = _described(path, [*files, *([config] if config.is_file() else [])], origin="")
    return replace(found, origin=f"{path.resolve().name} sha256:{found.sha256}")


def _from_hub(entry: Entry, permissions: Permissions, say: Say) -> Fetched:
    from .hub import CachedRepository, Repository

    kind = CachedRepository if is_offline(permissions) else Repository
    repository = kind(entry.repo, entry.revision)
    files = repository.weights(entry.file)
    licence = entry.licence or repository.licence()
    _require(entry, licence, permissions)
    paths = [repository.fetch(file, say) for file in files]
    path = paths[0] if entry.file else paths[0].parent
    return _described(path, paths, origin=f"hf:{entry.repo}@{repository.commit}", licence=licence)


def _from_url(entry: Entry, permissions: Permissions, say: Say) -> Fetched:
    return _from_address(entry, entry.url, entry.url, permissions, say)


def _from_gdrive(entry: Entry, permissions: Permissions, say: Say) -> Fetched:
    base = os.environ.get(_GDRIVE_VARIABLE) or GDRIVE
    query = urlencode({"id": entry.url, "export": "download", "confirm": "t"})
    page = f"https://drive.google.com/file/d/{entry.url}/view"
    return _from_address(entry, f"{base}/download?{query}", page, permissions, say)


def _from_address(entry: Entry, url: str, page: str, permissions: Permissions, say: Say) -> Fetched:
    """The file that somebody put into the cache by hand, or else the one at `url`; `page` is for people."""
    by_hand = cache.manual_path(entry.file)
    if by_hand.is_file():
        return _described(by_hand, [by_hand], origin=page)
    file = cache.fetched_folder(entry.key) / by_hand.name
    hint = f"fetch {page} by hand, and put the file at {by_hand}"
    if is_offline(permissions) and not file.is_file():
        raise WeightsError(
            f"weights are not at hand: `{entry.key}` (offline, and they were not fetched before)",
            hint=f"run once without --offline, HF_HUB_OFFLINE and their like; or {hint}",
        )
    download(Address(url, entry.key, sha256=entry.sha256, size=entry.size, hint=hint), file, say)
    return _described(file, [file], origin=page)


def _from_hand(entry: Entry, permissions: Permissions, say: Say) -> Fetched:
    by_hand = cache.manual_path(entry.file)
    if not by_hand.is_file():
        raise WeightsError(
            f"weights must be fetched by hand: `{entry.key}` (no program may, or can)",
            hint=f"fetch {entry.file} from {entry.url}, and put it at {by_hand}",
        )
    return _described(by_hand, [by_hand], origin=entry.url)


SOURCES: Mapping[str, Callable[[Entry, Permissions, Say], Fetched]] = {
    "hf": _from_hub,
    "url": _from_url,
    "gdrive": _from_gdrive,
    "manual": _from_hand,
}


def _described(path: Path, files: Sequence[Path], *, origin: str, licence: str = "") -> Fetched:
    """The facts of files, of which those in JSON say how to read the rest."""
    try:
        hashes = sorted(sha256_of(file) for file in files if file.suffix != ".json")
        config = next((sha256_of(file) for file in files if file.name == _CONFIG), "")
    except OSError as error:
        raise WeightsError(
            f"cannot read weights: `{path}` ({error.strerror or error})", hint="check the path and its permissions"
        ) from error
    digest = hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()
    return Fetched(path, tuple(files), digest, config, origin, licence)


def _require(entry: Entry, licence: str, permissions: Permissions) -> None:
    free = entry.free if entry.licence else licences.is_permissive(licence)
    if not free:
        page = f"https://huggingface.co/{entry.repo}" if entry.source == "hf" else ""
        licences.require(entry.key, licence, accepted=permissions.accepted, page=page)


def _asked_for(entry: Entry) -> dict[str, str]:
    """What decides which files an entry stands for."""
    return {name: getattr(entry, name) for name in ("source", "file", "repo", "revision", "url", "sha256")}
