"""A download goes on where it was cut off, and what has its name is whole and right."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_hub import FakeHub, Served, in_its_place

from vistool.errors import WeightsError
from vistool.weights import quiet
from vistool.weights.download import Address, download

CONTENT = bytes(range(256)) * 4000
HALF = len(CONTENT) // 2
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """One file at /a.pth."""
    with in_its_place(monkeypatch, tmp_path) as hub:
        hub.files["/a.pth"] = Served(CONTENT)
        yield hub


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "desk" / "a.pth"


def address(web: FakeHub, **known: object) -> Address:
    return Address(f"{web.url}/a.pth", "a", **known)  # type: ignore[arg-type]


def files_beside(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


def cut_off(web: FakeHub, target: Path, **known: object) -> None:
    """A first attempt, of which half came."""
    web.files["/a.pth"].cut_at = HALF
    with pytest.raises(WeightsError, match=f"cut off: `a` .{HALF} of {len(CONTENT)} bytes"):
        download(address(web, **known), target, quiet)
    assert target.with_name("a.pth.partial").stat().st_size == HALF
    assert not target.exists()
    web.asked.clear()


def test_a_file_is_whole_and_alone(web: FakeHub, target: Path) -> None:
    said: list[str] = []

    digest = download(address(web), target, said.append)

    assert digest == SHA256
    assert target.read_bytes() == CONTENT
    assert files_beside(target) == ["a.pth"]
    assert said == [f"fetching a from {web.url.removeprefix('http://')} (1.0 MB)"]


@pytest.mark.parametrize(
    ("served", "known"),
    [({"tag": "one"}, {}), ({"tag": ""}, {"sha256": SHA256}), ({"tag": ""}, {"lasting": True})],
    ids=["the same state", "a known hash", "a lasting address"],
)
def test_what_was_cut_off_is_gone_on_with(
    web: FakeHub, target: Path, served: dict[str, str], known: dict[str, object]
) -> None:
    web.files["/a.pth"] = Served(CONTENT, **served)  # type: ignore[arg-type]
    cut_off(web, target, **known)

    assert download(address(web, **known), target, quiet) == SHA256

    assert target.read_bytes() == CONTENT
    assert [(each.start, each.sent) for each in web.asked] == [(HALF, HALF)]
    assert files_beside(target) == ["a.pth"]


def test_a_killed_process_loses_nothing_that_came(web: FakeHub, target: Path) -> None:
    released = threading.Event()
    web.files["/a.pth"] = Served(CONTENT, cut_at=HALF, held=released)
    code = (
        "from pathlib import Path; from vistool.weights import quiet; from vistool.weights.download import *\n"
        f"download(Address('{web.url}/a.pth', 'a'), Path({str(target)!r}), quiet)"
    )
    partial = target.with_name("a.pth.partial")
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        while not partial.exists() or partial.stat().st_size < HALF:
            assert process.poll() is None
            time.sleep(0.01)
        process.kill()
    assert not target.exists()

    download(address(web), target, quiet)

    assert target.read_bytes() == CONTENT
    assert [(each.start, each.sent) for each in web.asked] == [(0, HALF), (HALF, HALF)]
    released.set()


@pytest.mark.parametrize(
    "served",
    [Served(CONTENT, parts=False), Served(CONTENT, tag="one", shift=1), Served(CONTENT, tag="another")],
    ids=["a server without parts", "a part from elsewhere", "a file that has changed"],
)
def test_what_cannot_be_gone_on_with_starts_over(web: FakeHub, target: Path, served: Served) -> None:
    web.files["/a.pth"] = Served(bytes(len(CONTENT)), tag="one")
    cut_off(web, target)
    web.files["/a.pth"] = served

    assert download(address(web), target, quiet) == SHA256

    assert web.asked[-1].start == 0
    assert target.read_bytes() == CONTENT


def test_half_a_file_of_unknown_state_is_not_gone_on_with(web: FakeHub, target: Path) -> None:
    web.files["/a.pth"] = Served(bytes(len(CONTENT)), tag="")
    cut_off(web, target)
    web.files["/a.pth"] = Served(CONTENT, tag="")

    assert download(address(web), target, quiet) == SHA256


def test_a_file_that_lacks_its_name_only_is_not_fetched_again(web: FakeHub, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("a.pth.partial").write_bytes(CONTENT)

    assert download(address(web, sha256=SHA256), target, quiet) == SHA256

    assert files_beside(target) == ["a.pth"]
    assert sum(each.sent for each in web.asked) == 0


def test_more_than_the_whole_file_starts_over(web: FakeHub, target: Path) -> None:
    target.parent.mkdir()
    target.with_name("a.pth.partial").write_bytes(CONTENT + b"more")

    assert download(address(web, sha256=SHA256), target, quiet) == SHA256


@pytest.mark.parametrize("resumed", [False, True])
def test_a_wrong_byte_is_set_aside_and_nothing_else_is_there(web: FakeHub, target: Path, resumed: bool) -> None:
    if resumed:
        cut_off(web, target)
    wrong = CONTENT[:-1] + b"!"
    web.files["/a.pth"] = Served(wrong, tag=SHA256)

    with pytest.raises(WeightsError, match="not the published file: `a`") as caught:
        download(address(web, sha256=SHA256), target, quiet)

    assert files_beside(target) == ["a.pth.wrong"]
    assert target.with_name("a.pth.wrong").read_bytes() == wrong
    assert "a.pth.wrong" in (caught.value.hint or "")
    web.files["/a.pth"] = Served(CONTENT)
    assert download(address(web, sha256=SHA256), target, quiet) == SHA256


def test_a_file_that_is_there_is_not_fetched(web: FakeHub, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(CONTENT)

    assert download(address(web, sha256=SHA256), target, quiet) == SHA256

    assert web.asked == []


def test_two_at_once_fetch_it_once(web: FakeHub, target: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        digests = list(pool.map(lambda _: download(address(web), target, quiet), range(2)))

    assert digests == [SHA256, SHA256]
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    ("served", "told"),
    [(Served(b"", status=404), "HTTP 404"), (Served(b"<html>", kind="text/html; charset=utf-8"), "web page")],
    ids=["nothing", "a page"],
)
def test_what_is_no_file_is_one_clear_line(web: FakeHub, target: Path, served: Served, told: str) -> None:
    web.files["/a.pth"] = served

    with pytest.raises(WeightsError, match=told) as caught:
        download(address(web, hint="by hand"), target, quiet)

    assert "\n" not in caught.value.message
    assert caught.value.hint == "by hand"
    assert files_beside(target) == []


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a.pth", "file:///etc/hosts", "ftp://127.0.0.1/a"])
def test_an_address_that_leads_nowhere_is_one_clear_line(web: FakeHub, target: Path, url: str) -> None:
    with pytest.raises(WeightsError, match="cannot fetch weights: `a`") as caught:
        download(Address(url, "a"), target, quiet)

    assert "\n" not in caught.value.message
    assert files_beside(target) == []
