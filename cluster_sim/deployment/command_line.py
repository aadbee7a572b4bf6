"""Shell text as commands: quotes, continuations, comments, variables, and the wrappers around ``vllm serve``."""

import re
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Final

from cluster_sim.deployment.server import Stated
from cluster_sim.errors import InputError

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_IMAGE: Final = re.compile(r"(?:^|/)[\w.-]*vllm[\w.-]*(?P<tag>:[\w.-]+)?(?:@sha256:[0-9a-f]+)?$")
_MODULES: Final = frozenset({"vllm.entrypoints.openai.api_server", "vllm.entrypoints.api_server"})
_CONTAINER_TOOLS: Final = frozenset({"docker", "podman", "nerdctl"})
_SHELLS: Final = frozenset({"bash", "sh", "zsh", "dash"})
_ENDS: Final = frozenset(";&|\n")


@dataclass(frozen=True, slots=True)
class ServeCommand:
    """One start of a vLLM server."""

    arguments: list[Stated]
    place: str
    environment: dict[str, str]
    image: Stated | None = None
    variables: list[Stated] = field(default_factory=list)
    """Assignments for this command and those before it, as ``NAME=value``."""
    is_in_loop: bool = False
    """Whether a loop of the shell starts it, nobody knows how often."""


def serve_commands(text: str, source: str, environment: Mapping[str, str], first_line: int = 1) -> list[ServeCommand]:
    """Return the commands of a shell text that start a vLLM server.

    Raises InputError for a quote that is not closed.
    """
    known: dict[str, str] = dict(environment)
    exported: list[Stated] = []
    found: list[ServeCommand] = []
    loops = 0
    for tokens in _Lexer(text, source, first_line, known).commands():
        words = list(tokens)
        loops += (words[0].text == "do") - (words[0].text == "done")
        own: list[Stated] = []
        if words and words[0].text in {"export", "env", "set"}:
            words.pop(0)
        while words and _ASSIGNMENT.match(words[0].text):
            own.append(words.pop(0))
        values = dict(_pair(variable.text) for variable in own)
        if not words:
            known |= values
            exported += own
            continue
        commands = _serve_command(words, {**known, **values}, [*exported, *own], source)
        found += [replace(command, is_in_loop=command.is_in_loop or loops > 0) for command in commands]
    return found


def _serve_command(
    words: list[Stated], environment: dict[str, str], own: list[Stated], source: str
) -> list[ServeCommand]:
    """Return the servers that one command starts, inside its wrappers; none if it starts something else."""
    texts = [word.text for word in words]
    place = words[0].place
    image: Stated | None = None
    variables = list(own)
    is_container = texts[0].rpartition("/")[2] in _CONTAINER_TOOLS or (
        texts[0] == "sudo" and len(texts) > 1 and texts[1].rpartition("/")[2] in _CONTAINER_TOOLS
    )
    start = 0
    if is_container:
        start = next((index for index, text in enumerate(texts) if index and _IMAGE.search(text) and text[0] != "-"), 0)
        if start:
            image = words[start]
            variables += _container_variables(words[:start])
    for index in range(start, len(texts)):
        if texts[index].rpartition("/")[2] in _SHELLS and index + 1 < len(texts):
            script = _script(words, index + 1)
            if script is not None:
                line = int(script.place.rpartition(":")[2])
                inner = serve_commands(script.text, source, environment, line)
                if inner:
                    return [
                        ServeCommand(
                            command.arguments,
                            command.place,
                            command.environment,
                            command.image or image,
                            variables + command.variables,
                        )
                        for command in inner
                    ]
        arguments = _arguments_after(words, index)
        if arguments is not None:
            return [ServeCommand(arguments, place, environment, image, variables)]
    if image is not None:
        return [ServeCommand(words[start + 1 :], place, environment, image, variables)]
    return []


def _arguments_after(words: list[Stated], index: int) -> list[Stated] | None:
    """Return what follows the start of a server at ``index``; None if it does not start there."""
    text = words[index].text
    following = words[index + 1].text if index + 1 < len(words) else ""
    if text.rpartition("/")[2] == "vllm" and following == "serve":
        return words[index + 2 :]
    if text in _MODULES:
        return words[index + 1 :]
    if text == "vllm.entrypoints.cli.main" and following == "serve":
        return words[index + 2 :]
    return None


def _script(words: list[Stated], start: int) -> Stated | None:
    """Return the text that a shell is given with ``-c``, if it is."""
    for index in range(start, min(start + 3, len(words) - 1)):
        if re.fullmatch(r"-[a-z]*c", words[index].text):
            return words[index + 1]
    return None


def _container_variables(words: list[Stated]) -> list[Stated]:
    """Return the variables that a container tool is given."""
    found = []
    for index, word in enumerate(words):
        if word.text in {"-e", "--env"} and index + 1 < len(words):
            found.append(words[index + 1])
        elif word.text.startswith("--env="):
            found.append(Stated(word.text.removeprefix("--env="), word.place))
    return [word for word in found if _ASSIGNMENT.match(word.text)]


def image_version(image: Stated | None) -> Stated | None:
    """Return the version of vLLM that the tag of an image names, if it names one; other images have their own."""
    name = image.text.lower() if image is not None else ""
    is_own = "vllm" in name.rpartition("/")[2] and "lmcache" not in name
    found = re.search(r":v?(\d+\.\d+(?:\.\d+)?)", name) if is_own else None
    return Stated(found[1], image.place) if found and image is not None else None


def is_vllm_image(image: str) -> bool:
    """Return whether an image is one of vLLM by its name."""
    return "vllm" in image.lower()


def _pair(assignment: str) -> tuple[str, str]:
    name, _, value = assignment.partition("=")
    return name, value


class _Lexer:
    """Reader of shell words; variables are replaced by what is known of them when their word is read."""

    def __init__(self, text: str, source: str, first_line: int, known: MutableMapping[str, str]) -> None:
        self._text = text.replace("\r\n", "\n")
        self._source = source
        self._line = first_line
        self._known = known
        self._at = 0

    def commands(self) -> Iterator[list[Stated]]:
        """Yield the words of each command; what a redirection names is left out."""
        words: list[Stated] = []
        is_redirected = False
        while self._at < len(self._text):
            mark = self._text[self._at]
            if mark in _ENDS:
                self._line += mark == "\n"
                self._at += 1
                if words:
                    yield words
                words = []
            elif mark.isspace():
                self._at += 1
            elif mark == "#":
                end = self._text.find("\n", self._at)
                self._at = len(self._text) if end < 0 else end
            elif self._text.startswith("\\\n", self._at):
                self._at += 2
                self._line += 1
            elif redirection := re.compile(r"\d*(?:>>?|<)(?:&\d)?").match(self._text, self._at):
                self._at = redirection.end()
                is_redirected = "&" not in redirection[0]
            else:
                read = self._words()
                words += read[1:] if is_redirected else read
                is_redirected = False
        if words:
            yield words

    def _words(self) -> list[Stated]:
        """Read one word; an unquoted variable of several words makes several of it."""
        place = f"{self._source}:{self._line}"
        parts: list[str] = [""]
        is_quoted = False
        text = self._text
        while self._at < len(text) and not text[self._at].isspace() and text[self._at] not in _ENDS:
            mark = text[self._at]
            if mark in "'\"":
                is_quoted = True
                parts[-1] += self._quoted(mark)
            elif mark == "\\":
                self._at += 1
                if text[self._at : self._at + 1] == "\n":
                    self._line += 1
                else:
                    parts[-1] += text[self._at : self._at + 1]
                self._at += 1
            elif mark == "$":
                first, *further = self._variable().split(" ") or [""]
                parts[-1] += first
                parts += further
            else:
                parts[-1] += mark
                self._at += 1
        return [Stated(part, place) for part in parts if part or is_quoted]

    def _quoted(self, mark: str) -> str:
        """Read a quoted part, in double quotes with its variables."""
        line = self._line
        self._at += 1
        read = ""
        while self._at < len(self._text):
            here = self._text[self._at]
            if here == mark:
                self._at += 1
                return read
            if mark == '"' and here == "$":
                read += self._variable()
                continue
            if mark == '"' and here == "\\" and self._text[self._at + 1 : self._at + 2] in {'"', "\\", "$", "`", "\n"}:
                self._at += 1
                here = self._text[self._at]
                if here == "\n":
                    here = ""
                    self._line += 1
            self._line += here == "\n"
            read += here
            self._at += 1
        raise InputError(f"{self._source}:{line}: a quote {mark} is not closed")

    def _variable(self) -> str:
        """Read a variable as its value, or as it stands if it has none."""
        text, start = self._text, self._at
        self._at += 1
        if text[self._at : self._at + 1] == "{":
            end = text.find("}", self._at)
            if end < 0:
                raise InputError(f"{self._source}:{self._line}: a brace of ${{...}} is not closed")
            inner = text[self._at + 1 : end]
            self._at = end + 1
            name = _NAME.match(inner)
            if name is None or "." in inner.partition(":")[0]:
                return text[start : self._at]
            rest = inner[name.end() :]
            if name[0] in self._known and not (rest.startswith(":") and not self._known[name[0]]):
                return self._known[name[0]]
            is_default = rest[:2] == ":-" or rest[:1] == "-"
            return rest.lstrip(":").removeprefix("-") if is_default else text[start : self._at]
        if text[self._at : self._at + 1] == "(":
            end = text.find(")", self._at)
            self._at = len(text) if end < 0 else end + 1
            inner = text[start + 2 : self._at - 1]
            return self._known.get(inner, text[start : self._at])
        name = _NAME.match(text, self._at)
        if name is None:
            return "$"
        self._at = name.end()
        return self._known.get(name[0], name.string[start : name.end()])
