"""Items of a JSON file, whichever way it holds them: a list, one object a line, or one object as the whole file.

Lists and lines are read piece by piece, so memory is bounded by the longest item.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from cluster_sim.errors import InputError
from cluster_sim.plain_file import check_size
from cluster_sim.workload.files.file_access import broken_stream, one_line, open_input, read_head, read_lines
from cluster_sim.workload.readers.json_rows import Place, parse_object

_READ_BYTES: Final = 1 << 20
_LONGEST_ITEM: Final = 16 << 20
_LONGEST_DOCUMENT: Final = 256 << 20
_ENDED: Final = -2
_SKIPPED: Final = re.compile(r"[ \t\r\n,]*")


def json_items(path: Path) -> Iterator[tuple[Place, Any]]:
    """Yield (place, item) of a JSON file; the place is one object that moves on.  InputError for what is not JSON."""
    head = read_head(path).lstrip().removeprefix(b"\xef\xbb\xbf")
    if not head.startswith(b"{"):
        place = Place(path, "item")
        for place.line, item in _list_items(path):
            yield place, item
        return
    place = Place(path)
    if _is_object(head.split(b"\n", 1)[0]):
        for place.line, line in read_lines(path):
            if line.strip():
                yield place, parse_object(place, line)
        return
    text = _whole_text(path)
    yield Place(path, document=text), _document(path, text)


def _whole_text(path: Path) -> str:
    """Return the text of a file that is one document; InputError where it is too long to be one."""
    chunks, size = [], 0
    for chunk in _text_chunks(path):
        chunks.append(chunk)
        size += len(chunk)
        check_size(path, size, _LONGEST_DOCUMENT)
    return "".join(chunks)


def _is_object(line: bytes) -> bool:
    """Return whether a line holds a whole object, or may: one longer than what was read of the file."""
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return error.msg.startswith("Extra data")
    except (ValueError, RecursionError):
        return False
    return True


def _document(path: Path, text: str) -> Any:
    """Return the one JSON document of a file; InputError, with its line, where it is broken or another follows."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg.startswith("Extra data"):
            raise InputError(
                f"{path}: line {error.lineno}: a second JSON document begins here; one is expected"
            ) from None
        raise InputError(f"{path}: line {error.lineno}: not JSON: {error.msg.lower()}") from None
    except ValueError as error:  # A number of thousands of digits.
        raise InputError(f"{path}: not JSON: {one_line(error)}") from None
    except RecursionError:
        raise InputError(f"{path}: nested too deeply") from None


def _list_items(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the items of a JSON list, decoding each as soon as it is complete."""
    decoder = json.JSONDecoder()
    text = ""
    number = -1
    """Item to come; -1 before the list has begun, ``_ENDED`` after it."""
    for more in _text_chunks(path):
        text += more
        place = 0
        while True:
            blanks = _SKIPPED.match(text, place)
            place = blanks.end() if blanks else place
            if place == len(text):
                break
            if number == -1:
                if text[place] != "[":
                    raise InputError(f"{path}: neither a JSON list nor JSON lines of objects")
                number, place = 0, place + 1
                continue
            if number == _ENDED:
                raise InputError(f"{path}: a second document begins after the end of the JSON list")
            if text[place] == "]":
                number, place = _ENDED, place + 1
                continue
            try:
                item, end = decoder.raw_decode(text, place)
            except RecursionError:
                raise InputError(f"{path}: item {number}: nested too deeply") from None
            except ValueError:
                if len(text) - place > _LONGEST_ITEM:
                    raise InputError(f"{path}: item {number}: not JSON, or longer than {_LONGEST_ITEM} bytes") from None
                break
            if end == len(text) and not isinstance(item, dict | list):
                break
            yield number, item
            number, place = number + 1, end
        text = text[place:]
    if number == _ENDED:
        return
    raise InputError(f"{path}: item {max(number, 0)}: the JSON list is cut off or damaged here")


def _text_chunks(path: Path) -> Iterator[str]:
    rest = b""
    try:
        with open_input(path) as stream:
            while chunk := bytes(stream.read(_READ_BYTES)):
                whole = rest + chunk
                cut = len(whole)
                while cut > max(len(whole) - 4, 0) and whole[cut - 1] & 0xC0 == 0x80:
                    cut -= 1
                if cut and whole[cut - 1] >= 0xC0:
                    cut -= 1
                rest = whole[cut:]
                yield whole[:cut].decode("utf-8")
            yield rest.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text") from None
    except (OSError, pa.ArrowException) as error:
        raise broken_stream(path, error) from None
