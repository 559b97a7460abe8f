"""What is kept can be checked, and removed whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from fake_hub import FakeHub, Served, in_its_place
from plain_reader import PlainReader, entry, plain_folder

from vistool.errors import WeightsError
from vistool.weights import cache, load, locate, registry, sources, upkeep
from vistool.weights.registry import Entry


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """`hf:some/one`, which is fetched, and the key `one`, which lies at an address."""
    with in_its_place(monkeypatch, tmp_path) as hub:
        repo = hub.add("some/one", plain_folder(tmp_path / "some", config="{}"), card={"license": "mit"})
        hub.files["/a.safetensors"] = repo.files["model.safetensors"]
        one = entry("url", url=f"{hub.url}/a.safetensors", file="a.safetensors")
        monkeypatch.setattr(registry, "entries", lambda: {"one": one})
        load("hf:some/one", "ifr", PlainReader())
        yield hub


@pytest.fixture
def fetched(hub: FakeHub) -> Entry:
    return sources.hub_entry("hf:some/one")


def faults(entry: Entry) -> dict[str, str]:
    return {finding.name: finding.fault for finding in upkeep.check(entry)}


def test_what_is_as_it_was_has_no_fault(fetched: Entry) -> None:
    converted = locate("hf:some/one", "ifr").name

    assert faults(fetched) == {"hf:some/one": "", converted: ""}
    assert {finding.name for finding in upkeep.check_cache()} == {"hf:some/one", converted}


@pytest.mark.parametrize("what", ["model.safetensors", "config.json"])
def test_a_source_that_was_changed_is_found(fetched: Entry, what: str) -> None:
    known = sources.recorded(fetched)
    assert known is not None
    (known.path / what).write_bytes(b"{ }")

    assert faults(fetched)["hf:some/one"] == "not what was fetched"


def test_a_converted_file_that_was_changed_is_found(fetched: Entry) -> None:
    path = locate("hf:some/one", "ifr")
    path.write_bytes(b"other")

    assert faults(fetched)[path.name].startswith("sha256 is ")
    cache.record_of(path).unlink()
    assert faults(fetched)[path.name] == "not finished"


def test_a_source_that_is_gone_is_not_missed_once_it_is_converted(fetched: Entry) -> None:
    cache.remove([Path(huggingface_hub.constants.HF_HUB_CACHE)])

    assert list(faults(fetched).values()) == [""]
    locate("hf:some/one", "ifr").unlink()
    assert faults(fetched) == {"hf:some/one": "removed since it was fetched"}


def test_what_was_never_fetched_is_said_so(hub: FakeHub) -> None:
    assert faults(registry.entries()["one"]) == {"one": "not fetched"}


def test_what_is_forgotten_is_gone_and_its_size_told(hub: FakeHub, fetched: Entry, tmp_path: Path) -> None:
    converted = locate("hf:some/one", "ifr")
    size = len(hub.repos["some/one"].files["model.safetensors"].content)

    freed = upkeep.forget(fetched.key, fetched.repo)

    assert freed > size + 4000
    assert not converted.exists()
    left = [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size >= size]
    assert left == [tmp_path / "some" / "model.safetensors"]  # what the server has
    with pytest.raises(WeightsError, match="not at hand"):
        locate("hf:some/one", "ifr")


@pytest.mark.parametrize("spec", ["one", "hf:some/two"])
def test_half_a_download_is_forgotten_too(hub: FakeHub, tmp_path: Path, spec: str) -> None:
    served = hub.repos["some/one"].files["model.safetensors"]
    hub.repos["some/two"] = hub.repos["some/one"]
    served.cut_at = 2000
    with pytest.raises(WeightsError, match="cut off"):
        load(spec, "ifr", PlainReader())

    entry = registry.entries().get(spec) or sources.hub_entry(spec)
    freed = upkeep.forget(entry.key, entry.repo)

    assert freed >= 2000
    assert list(tmp_path.rglob("*.partial")) == []


def test_other_commits_of_a_repository_stay(hub: FakeHub, fetched: Entry, tmp_path: Path) -> None:
    repo = hub.repos["some/one"]
    repo.commit = "d" * 40
    newer = Path(huggingface_hub.hf_hub_download("some/one", "model.safetensors"))

    upkeep.forget(fetched.key, fetched.repo)

    assert newer.is_file()  # though its bytes are those of the other commit
    assert [path.name for path in tmp_path.glob("hub/models--*/snapshots/*/*")] == ["model.safetensors"]


def test_other_files_of_a_commit_stay(hub: FakeHub, fetched: Entry, tmp_path: Path) -> None:
    other = plain_folder(tmp_path / "other", value=2.0) / "model.safetensors"
    hub.repos["some/one"].files["other.safetensors"] = Served(other.read_bytes())
    load("hf:some/one/other.safetensors", "ifr", PlainReader())

    freed = upkeep.forget("hf:some/one/other.safetensors", "some/one")

    assert freed >= 2 * len(other.read_bytes())
    assert faults(fetched)["hf:some/one"] == ""
    files = hub.repos["some/one"].files
    left = {path.name for path in tmp_path.glob("hub/models--*/blobs/*")}
    assert left == {files["model.safetensors"].etag, files["config.json"].etag}


def test_everything_can_be_forgotten_but_what_people_put_there(hub: FakeHub, tmp_path: Path) -> None:
    load("one", "ifr", PlainReader())
    load(str(tmp_path / "some"), "ifr", PlainReader())
    by_hand = cache.manual_path("b.pth")
    by_hand.parent.mkdir()
    by_hand.write_bytes(b"mine")

    assert upkeep.forget_all() > 4000

    assert cache.converted_paths() == []
    assert cache.fetched_names() == []
    assert by_hand.is_file()
    assert list(tmp_path.glob("hub/models--*")) == []
