"""The vistool checkpoint: what is written is read, and nothing else is taken for one."""

from __future__ import annotations

import json
import os
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from checkpoint_samples import INFO, info, tensors
from safetensors.torch import load_file, save_file

from vistool.errors import OutputExistsError, VistoolError, WeightsError
from vistool.weights import checkpoint


@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
def test_what_is_written_is_read(tmp_path: Path, half: bool) -> None:
    path = tmp_path / "a.safetensors"

    checkpoint.write(path, INFO, tensors(), half=half)
    read = checkpoint.read(path)

    assert read.info == INFO
    assert read.name == str(path)
    assert read.sha256 == checkpoint.sha256_of(path)
    assert read.tensors.keys() == tensors().keys()
    for name, tensor in tensors().items():
        torch.testing.assert_close(read.tensors[name], tensor, rtol=0, atol=0)


def test_half_is_on_disk_only(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"

    checkpoint.write(path, INFO, tensors(), half=True)

    assert load_file(path)["stem.weight"].dtype == torch.float16
    assert checkpoint.read(path).tensors["stem.weight"].dtype == torch.float32


def test_the_header_is_known_without_torch(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    checkpoint.write(path, INFO, tensors(), half=True)
    code = (
        "import sys; from pathlib import Path; from vistool.weights.checkpoint import read_header; "
        f"header = read_header(Path({str(path)!r})); "
        "print(header.parameters, *header.dtypes, header.info.categories[0].name, 'torch' in sys.modules)"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert said.split() == ["13", "F16", "I64", "ring", "False"]  # 4 x 3 and 1; running statistics are not learned


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for number in range(5):
        checkpoint.write(tmp_path / f"{number}.safetensors", INFO, tensors(), half=True)

    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_tensors_that_share_memory_or_are_views_are_stored_apart(tmp_path: Path) -> None:
    base = torch.arange(6.0).reshape(2, 3)

    checkpoint.write(tmp_path / "a.safetensors", INFO, {"one": base, "same": base, "turned": base.T}, half=False)

    read = checkpoint.read(tmp_path / "a.safetensors").tensors
    assert read["same"].tolist() == base.tolist()
    assert read["turned"].tolist() == base.T.tolist()


def test_a_value_beyond_fp16_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="`wide`"):
        checkpoint.write(tmp_path / "a.safetensors", INFO, {"wide": torch.tensor([1e5])}, half=True)

    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    checkpoint.write(path, INFO, tensors(), half=False)
    before = path.read_bytes()

    with pytest.raises(OutputExistsError):
        checkpoint.write(path, info(notes="new"), tensors(), half=False)
    assert path.read_bytes() == before

    checkpoint.write(path, info(notes="new"), tensors(), half=False, overwrite=True)
    assert checkpoint.read(path).info.notes == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.safetensors"
    checkpoint.write(path, INFO, tensors(), half=False)

    def no_space(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)

    with pytest.raises(VistoolError, match="No space left"):
        checkpoint.write(path, info(notes="new"), tensors(), half=False, overwrite=True)

    assert checkpoint.read(path).info == INFO
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_whoever_may_read_other_files_may_read_weights(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()

    checkpoint.write(tmp_path / "a.safetensors", INFO, tensors(), half=False)

    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "a.safetensors")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize("read", [checkpoint.read, checkpoint.read_header], ids=["whole", "header"])
class TestWhatIsNoCheckpoint:
    def test_an_absent_file(self, tmp_path: Path, read: type) -> None:
        with pytest.raises(WeightsError, match=r"not found.*no such file"):
            read(tmp_path / "absent.safetensors")

    def test_a_folder(self, tmp_path: Path, read: type) -> None:
        with pytest.raises(WeightsError, match="folder"):
            read(tmp_path)

    def test_an_empty_file(self, tmp_path: Path, read: type) -> None:
        (tmp_path / "empty.safetensors").touch()

        with pytest.raises(WeightsError, match="empty"):
            read(tmp_path / "empty.safetensors")

    @pytest.mark.parametrize("kept", [4, 60, 0.5, 0.99], ids=["4 bytes", "60 bytes", "half", "almost all"])
    def test_a_truncated_file(self, tmp_path: Path, read: type, kept: float) -> None:
        path = tmp_path / "a.safetensors"
        checkpoint.write(path, INFO, tensors(), half=False)
        whole = path.read_bytes()
        path.write_bytes(whole[: int(kept if kept >= 1 else kept * len(whole))])

        with pytest.raises(WeightsError, match="damaged"):
            read(path)

    def test_a_file_of_another_kind(self, tmp_path: Path, read: type) -> None:
        torch.save({"a": torch.zeros(3)}, tmp_path / "a.pth")

        with pytest.raises(WeightsError) as caught:
            read(tmp_path / "a.pth")
        assert "convert" in (caught.value.hint or "")

    def test_a_checkpoint_of_another_project(self, tmp_path: Path, read: type) -> None:
        save_file({"a": torch.zeros(3)}, tmp_path / "a.safetensors", metadata={"format": "pt"})

        with pytest.raises(WeightsError, match="not a vistool checkpoint") as caught:
            read(tmp_path / "a.safetensors")
        assert "convert" in (caught.value.hint or "")

    @pytest.mark.parametrize(
        ("description", "complaint"),
        [
            ({"format_version": 2}, "version 2"),
            ({"format_version": 1}, "damaged"),
            ({"format_version": 1, "categories": [7]}, "damaged"),
            ({}, "damaged"),
            ([], "damaged"),
            ("{", "damaged"),
        ],
        ids=["later version", "nothing said", "wrong types", "no version", "a list", "half a text"],
    )
    def test_a_wrong_description(self, tmp_path: Path, read: type, description: object, complaint: str) -> None:
        text = description if isinstance(description, str) else json.dumps(description)
        save_file({"a": torch.zeros(3)}, tmp_path / "a.safetensors", metadata={"vistool": text})

        with pytest.raises(WeightsError, match=complaint):
            read(tmp_path / "a.safetensors")

    def test_a_header_that_claims_more_than_memory(self, tmp_path: Path, read: type) -> None:
        (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", 2**62) + b"{}")

        with pytest.raises(WeightsError, match="damaged"):
            read(tmp_path / "a.safetensors")
