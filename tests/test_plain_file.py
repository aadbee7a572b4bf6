"""Plain files: what is none is refused before it is read."""

import os
import socket
from pathlib import Path

import pytest

from cluster_sim.document import Document
from cluster_sim.errors import InputError
from cluster_sim.plain_file import read_bytes, read_text
from cluster_sim.workload.files import file_access
from cluster_sim.workload.files.file_access import read_head, read_lines


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    """Pipes, sockets, devices, folders, loops of links and names that no file can have are refused at once."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    place = socket.socket(socket.AF_UNIX)
    place.bind(str(tmp_path / "socket"))
    wrong = {
        tmp_path / "pipe": "is a pipe",
        tmp_path / "socket": "is a socket",
        tmp_path / "loop": "cannot be read",
        Path("/dev/zero"): "is a device",
        tmp_path: "is a folder",
        tmp_path / "none": "no such file",
        tmp_path / ("x" * 300): "cannot be read",
        tmp_path / "a\0b": "cannot be read",
    }
    for path, message in wrong.items():
        for read in (read_bytes, Document.read, read_head, lambda path: list(read_lines(path))):
            with pytest.raises(InputError, match=message):
                read(path)
    place.close()


def test_size_is_checked_before_and_while_reading(tmp_path: Path) -> None:
    """A file of a byte more than allowed is refused, also where its size says nothing, as below /proc."""
    (tmp_path / "file").write_bytes(b"12345\r\n7\r8")
    assert read_bytes(tmp_path / "file", 10) == b"12345\r\n7\r8"
    assert read_text(tmp_path / "file") == "12345\n7\n8"
    with pytest.raises(InputError, match="is larger than 0 MiB"):
        read_bytes(tmp_path / "file", 9)
    with pytest.raises(InputError, match="is larger than 0 MiB"):
        read_bytes(Path("/proc/self/maps"), 10)


def test_lines_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line is given up at the bound, not when the file ends."""
    monkeypatch.setattr(file_access, "LONGEST_LINE_BYTES", 1 << 20)
    (tmp_path / "file").write_bytes(b"a\nb\n" + bytes(3 << 20))
    with pytest.raises(InputError, match="line 3 is longer than 1 MiB"):
        list(read_lines(tmp_path / "file"))
