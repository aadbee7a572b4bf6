"""Record of what a directory of results was begun with: the study, its files, and the release of the program.

It is the study's file in the directory, whose first line names the release; each of the next names a file that the
study reads, with a hash of its content.  Results of another study are of no use to the one at hand, nor are those of a
file that was edited in place, and those of another release need not be the same.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from cluster_sim import __version__
from cluster_sim.config.loading.canonical import resolved_yaml
from cluster_sim.config.loading.load import load_study
from cluster_sim.config.loading.named_files import content_of, files_named_by
from cluster_sim.config.schema.study import Study
from cluster_sim.errors import InputError
from cluster_sim.options import WritePath
from cluster_sim.plain_file import read_text
from cluster_sim.shown_values import by_number, cut, shortened, shown_path
from cluster_sim.simulation.plan import make_plan

_HEAD: Final = "# Begun by cluster-sim "
_RELEASE: Final = re.compile(rf"{_HEAD}(\S+)\n")
_FILE: Final = re.compile(r'# Reads (".*"), SHA-256 ([0-9a-f]{64})\n')
_COMMENTS: Final = re.compile(r"\A(?:#.*\n)+")
_MOST_DIFFERENCES: Final = 3
"""Keys, or files, that a message names."""
_NOTHING: Final = object()


def record_text(base: Study, paths: WritePath = str) -> str:
    """Return the content of the file that records a study and this release; ``paths`` writes the files it names."""
    files = (f"# Reads {json.dumps(paths(path))}, SHA-256 {content_of(path)}\n" for path in files_named_by(base))
    return f"{_HEAD}{__version__}\n{''.join(files)}{resolved_yaml(base, paths)}"


def is_record_of(file: Path, base: Study) -> bool:
    """Return whether a file records ``base``, in the form of this release or of an earlier one."""
    try:
        return file.exists() and not _difference(file, base) and not _changed_files(file)
    except InputError:
        return False


def check_record(file: Path, base: Study, words: str) -> None:
    """Raise InputError if the directory of ``file`` holds results of another study or another release.

    ``words`` say what it holds.  A record without a release is of one that wrote none, and is taken.
    """
    place = file.parent
    if not file.exists():
        raise InputError(f"{place}: is not the directory of a {words}: it has no {file.name}; give another --out")
    release = _release(read_text(file))
    if release not in {None, __version__}:
        raise InputError(
            f"{file}: holds a {words} of release {cut(str(release))}, and this is {__version__}, which may compute "
            "something else; continue it with that release, or give another --out"
        )
    try:
        difference = _difference(file, base)
    except InputError as error:
        raise InputError(
            f"{place}: holds a {words} whose study cannot be read: {error}; give another --out, or remove it"
        ) from error
    if difference:
        raise InputError(
            f"{place}: holds another {words} than this study asks for: {difference}; continue it with the study that "
            f"it was begun with ({file}), or give another --out"
        )
    changed = _changed_files(file)
    if changed:
        shown = ", ".join(map(shown_path, changed[:_MOST_DIFFERENCES]))
        rest = f", and {len(changed) - _MOST_DIFFERENCES} more" if len(changed) > _MOST_DIFFERENCES else ""
        has, it = by_number(len(changed), "has", "have"), by_number(len(changed), "it", "them")
        raise InputError(
            f"{place}: holds a {words} of other input than this study reads: {shown}{rest} {has} changed since it was "
            f"begun; restore {it}, or give another --out"
        )


def _changed_files(file: Path) -> list[Path]:
    """Return the files that a record names whose content is another one now; earlier commits recorded none."""
    head = _COMMENTS.match(read_text(file))
    named = _FILE.findall(head[0]) if head else []
    places = [(file.parent / json.loads(path), content) for path, content in named]
    return [path for path, content in places if content_of(path) != content]


def _release(text: str) -> str | None:
    found = _RELEASE.match(text)
    return found[1] if found else None


def _difference(file: Path, base: Study) -> str:
    """Return how the study that a file records differs from ``base``; nothing if it is the same.

    Raises InputError if the file is no study.
    """
    if _COMMENTS.sub("", read_text(file)) == resolved_yaml(base):
        return ""
    earlier = load_study(file)
    if _settled(earlier) == _settled(base):
        return ""
    found = list(_differences(earlier.model_dump(mode="json"), base.model_dump(mode="json")))
    shown = [f"{key} is {_value(there)} there and {_value(here)} here" for key, there, here in found]
    rest = f", and {len(shown) - _MOST_DIFFERENCES} more" if len(shown) > _MOST_DIFFERENCES else ""
    return f"{', '.join(shown[:_MOST_DIFFERENCES])}{rest}"


def _settled(study: Study) -> str:
    """Return a study as text, with what its engines choose where it says nothing."""
    pools = tuple(planned.pool for planned in make_plan(study).pools)[: len(study.fleet.pools)]
    return resolved_yaml(study.model_copy(update={"fleet": study.fleet.model_copy(update={"pools": pools})}))


def _differences(there: Any, here: Any, key: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (dotted key, value there, value here) of what differs between two documents."""
    if isinstance(there, dict) and isinstance(here, dict):
        children = [(name, there.get(name, _NOTHING), here.get(name, _NOTHING)) for name in {**there, **here}]
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        children = [(str(index), *pair) for index, pair in enumerate(zip(there, here, strict=True))]
    else:
        if there != here:
            yield key, there, here
        return
    for name, one, other in children:
        yield from _differences(one, other, f"{key}.{name}" if key else name)


def _value(value: Any) -> str:
    return "absent" if value is _NOTHING else shortened(value)
