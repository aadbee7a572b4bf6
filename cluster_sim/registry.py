"""Registry of one axis of extension: parts by name, each with its options.

A part is one file: a class or function with a decorator that names it and its options.  The registry imports the
modules of its own package, and the entry points that other installed packages declare for the axis, when it is first
asked; before that it costs nothing.
"""

import importlib
import json
import pkgutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Generic, Literal, TypeVar, cast, get_args, get_origin

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, SchemaValidator, core_schema

from cluster_sim.errors import InputError
from cluster_sim.options import ConfigModel
from cluster_sim.suggestion import suggestion

Part = TypeVar("Part")
"""What is registered: a class, or a function that builds one."""


@dataclass(frozen=True, slots=True)
class Entry(Generic[Part]):
    """One registered part."""

    name: str
    options: type[ConfigModel]
    """The block of a study that chooses this part; its ``tag`` field is a ``Literal`` that has the name."""
    part: Part
    summary: str
    """One line for users: the first of the options' docstring, or of the part's where parts share their options."""

    @property
    def package(self) -> str:
        """The top-level package that the part comes from; ``cluster_sim`` for those of the project."""
        return self.options.__module__.partition(".")[0]

    @property
    def is_outside(self) -> bool:
        """Whether another package than this project's has registered the part."""
        return self.package != __name__.partition(".")[0]


class Registry(Generic[Part]):
    """The parts of one axis."""

    def __init__(
        self,
        noun: str,
        package: str,
        group: str,
        tag: str = "kind",
        default: str | None = None,
        chooser: str | None = None,
        *,
        shares_options: bool = False,
    ) -> None:
        """Name the axis.

        Messages call a part a ``noun``, and what chooses it ``chooser`` (None: ``noun`` too).  Parts are looked for in
        the modules of ``package`` and in the entry points of ``group``; ``tag`` is the key of a study that holds a
        part's name, and ``default`` is the part of a block without that key (its options must have the name as default
        of the tag).  ``shares_options`` says that a study gives the options of all parts side by side in one block.
        """
        self.noun = noun
        self.chooser = chooser or noun
        self.group = group
        self.tag = tag
        self.default = default
        self.failures: dict[str, str] = {}
        """Entry points that could not be loaded, with the package and the error."""
        self._package = package
        self._shares_options = shares_options
        self._entries: dict[str, Entry[Part]] = {}
        self._validators: dict[type[ConfigModel], SchemaValidator] = {}
        """By options: what validates a block that has a part's name."""
        self._is_scanned = False
        self.described: set[str] = set()
        """Parts whose JSON Schema is being made, which those that hold parts of the axis refer to."""

    @contextmanager
    def describing(self, ref: str) -> Iterator[None]:
        """Note, within the context, that the JSON Schema of a part is being made."""
        is_new = ref not in self.described
        self.described.add(ref)
        try:
            yield
        finally:
            if is_new:
                self.described.discard(ref)

    @property
    def folder(self) -> str:
        """The folder that the project's own parts stand in."""
        return self._package.replace(".", "/")

    def register(self, name: str, options: type[ConfigModel]) -> Callable[[Part], Part]:
        """Return a decorator that registers a part under ``name``.

        Raises ValueError where the name is taken, and TypeError where the options' tag does not allow the name, or
        where parts that share options would declare one differently.
        """
        names = self.names_of(options)
        if name not in names:
            raise TypeError(f"{options.__name__} needs the field {self.tag}: Literal[{name!r}]")
        if name in self._entries:
            owner = self._entries[name].options.__module__
            raise ValueError(f"the {self.noun} {name!r} is registered already, by {owner}")
        if self._shares_options:
            self._must_agree(options)

        def keep(part: Part) -> Part:
            text = (options.__doc__ if len(names) == 1 else None) or part.__doc__ or ""
            summary = text.strip().partition("\n")[0]
            self._entries[name] = Entry(name, options, part, summary)
            return part

        return keep

    def _must_agree(self, options: type[ConfigModel]) -> None:
        """Raise TypeError if another part declares one of the options differently."""
        for entry in self._entries.values():
            theirs = entry.options.model_fields
            for option, field in options.model_fields.items():
                if option != self.tag and option in theirs and repr(field) != repr(theirs[option]):
                    raise TypeError(
                        f"it declares the option {option} otherwise than {entry.name} does, and every {self.noun} has "
                        "its options in one block"
                    )

    def names(self) -> list[str]:
        """Return the registered names, sorted."""
        return sorted(self._scanned())

    def entries(self) -> list[Entry[Part]]:
        """Return every entry, sorted by name."""
        return [self._scanned()[name] for name in self.names()]

    def get(self, name: str) -> Entry[Part]:
        """Return one entry; raise InputError, which lists the known names and the nearest, if there is none."""
        found = self._found(name)
        if found is None:
            raise InputError(self.unknown(name))
        return found

    def _found(self, name: str) -> Entry[Part] | None:
        """Return one entry, or None; a part in a module of its own name is found without the others."""
        if name not in self._entries and not self._is_scanned and f"{self._package}.{name}" in self._modules():
            importlib.import_module(f"{self._package}.{name}")
        return self._entries.get(name) or self._scanned().get(name)

    def _modules(self) -> list[str]:
        """Return the modules that may hold the project's own parts."""
        package = importlib.import_module(self._package)
        return [module.name for module in pkgutil.iter_modules(package.__path__, f"{self._package}.")]

    @property
    def is_single(self) -> bool:
        """Whether one class of options serves every part, so that there is nothing to tell apart."""
        if not self._is_scanned and len(self._modules()) > 1:
            return False
        return len({entry.options for entry in self.entries()}) == 1

    def validator(self, name: str) -> SchemaValidator | None:
        """Return what validates a block of one part, whose errors have its name in their places; None if none is."""
        entry = self._found(name)
        if entry is None:
            return None
        if entry.options not in self._validators:
            entry.options.model_rebuild()
            own = entry.options.__pydantic_core_schema__
            names = self.names_of(entry.options)
            union = core_schema.tagged_union_schema(dict.fromkeys(names, own), self._name_of)
            self._validators[entry.options] = SchemaValidator(union)
        return self._validators[entry.options]

    def _name_of(self, block: Any) -> Any:
        return block.get(self.tag, self.default) if isinstance(block, dict) else getattr(block, self.tag, None)

    def chosen_by(self, options: ConfigModel) -> Entry[Part]:
        """Return the entry that a study's block chooses by its tag; raise InputError if there is none."""
        return self.get(getattr(options, self.tag))

    def unknown(self, name: str) -> str:
        """Return the message about a name that is not registered."""
        known = self.names()
        return f"unknown {self.noun} {name!r}{suggestion(name, known)}; known: {', '.join(known)}{self.broken()}"

    def must_be_known(self, name: str, *others: str) -> str:
        """Return the message about a value of a study that is neither a registered name nor one of ``others``."""
        known = [*others, *self.names()]
        return f"must be one of {', '.join(known)}; got {name!r}{suggestion(name, known)}{self.broken()}"

    def broken(self) -> str:
        """Return the entry points that could not be loaded, to be added to a message about an unknown name."""
        return "".join(f"; {text}" for text in self.failures.values())

    def owners(self, option: str) -> list[str]:
        """Return the names of the parts that have an option."""
        return [entry.name for entry in self.entries() if option in entry.options.model_fields]

    def annotation(self) -> Any:
        """Return the type of a study's block that holds any part's options, told apart by ``tag``.

        The parts are looked for when a model that has such a field is first used, not before, so that options may
        hold other parts, also of the same axis.
        """
        return type("Block", (Block,), {"registry": self})

    def name_annotation(self, *others: str) -> Any:
        """Return the type of a part's name; ``others`` are allowed beside the registered names."""
        return type("Name", (Name,), {"registry": self, "others": others})

    def names_of(self, options: type[ConfigModel]) -> tuple[Any, ...]:
        """Return the names that the tag of options allows."""
        field = options.model_fields.get(self.tag)
        is_literal = field is not None and get_origin(field.annotation) is Literal
        return get_args(field.annotation) if field is not None and is_literal else ()

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Forget, at the end of the context, what was registered inside it."""
        before = dict(self._scanned())
        try:
            yield
        finally:
            self._entries = before

    def _scanned(self) -> dict[str, Entry[Part]]:
        if not self._is_scanned:
            self._is_scanned = True
            for module in self._modules():
                importlib.import_module(module)
            points = [point for point in declared(tuple(sys.path)) if point.group == self.group]
            for point in sorted(points, key=lambda point: (point.name, point.value)):
                self._load(point)
        return self._entries

    def _load(self, point: EntryPoint) -> None:
        """Load one entry point, whole or not at all."""
        before = dict(self._entries)
        try:
            point.load()
        except Exception as error:  # noqa: BLE001 - a broken package must not take every other entry with it
            self._entries = before
            owner = point.dist.name if point.dist is not None else point.value
            self.failures[point.name] = (
                f"the {self.noun} {point.name!r} of the package {owner} cannot be loaded "
                f"({type(error).__name__}: {error})"
            )


@cache
def declared(path: tuple[str, ...]) -> tuple[EntryPoint, ...]:  # noqa: ARG001 - what is installed depends on it
    """Return the entry points of every package on ``path``, which is ``sys.path``: reading them takes milliseconds."""
    found = entry_points()
    return tuple(point for group in sorted(found.groups) for point in found.select(group=group))


class Block:
    """The type of a study's block that holds the options of any part of one axis."""

    registry: ClassVar[Registry[Any]]

    @classmethod
    def models(cls) -> list[type[ConfigModel]]:
        """Return the options of every part; parts may share them."""
        return list(dict.fromkeys(entry.options for entry in cls.registry.entries()))

    @classmethod
    def validate(cls, block: Any, info: core_schema.ValidationInfo) -> Any:
        """Return the options that a block gives, those of the part that its tag names.

        The schema of a part is built when a study first names it: most studies name few.
        """
        tag = cls.registry.tag
        name = block.get(tag, cls.registry.default) if isinstance(block, dict) else getattr(block, tag, None)
        if not isinstance(name, str):
            raise PydanticKnownError("union_tag_not_found", {"discriminator": repr(tag)})
        validator = cls.registry.validator(name)
        if validator is None:
            known = ", ".join(repr(known) for known in cls.registry.names())
            tags = {"discriminator": repr(tag), "tag": name, "expected_tags": known}
            raise PydanticKnownError("union_tag_invalid", tags)
        if info.mode == "json" and isinstance(block, dict):
            # Strict as the whole: a list is a tuple only where it comes from JSON.
            return validator.validate_json(json.dumps(block), strict=True, context=info.context)
        return validator.validate_python(block, context=info.context)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of a union told apart by the tag, whose parts are looked up as they are needed."""
        if cls.registry.is_single:
            return handler.generate_schema(cls.models()[0])
        return core_schema.with_info_plain_validator_function(cls.validate)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the JSON Schema: a block without the tag is the default part's, or wrong."""
        if cls.registry.is_single:
            return handler(schema)
        choices = []
        for model in cls.models():
            model.model_rebuild()
            ref = core_ref(model)
            own: CoreSchema = core_schema.definition_reference_schema(ref)
            if ref not in cls.registry.described:
                own = core_schema.definitions_schema(
                    cast(CoreSchema, {**model.__pydantic_core_schema__, "ref": ref}), []
                )
            with cls.registry.describing(ref):
                choice = dict(handler(own))
            if cls.registry.default not in cls.registry.names_of(model):
                choice["required"] = [cls.registry.tag]
            choices.append(choice)
        return {"oneOf": choices}


def core_ref(model: type[ConfigModel]) -> str:
    """Return the name of a model among the definitions of a schema, as pydantic forms it."""
    return f"{model.__module__}.{model.__qualname__}:{id(model)}"


class Name:
    """The type of a name of one axis, where a study gives no more of a part than that."""

    registry: ClassVar[Registry[Any]]
    others: ClassVar[tuple[str, ...]]

    @classmethod
    def names(cls) -> list[str]:
        """Return every name that is allowed."""
        return [*cls.others, *cls.registry.names()]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return the schema of a text that is one of the names."""

        def check(name: str) -> str:
            if name not in cls.names():
                text = cls.registry.must_be_known(name, *cls.others)
                raise PydanticCustomError("unknown_entry", "{text}", {"text": text})
            return name

        return core_schema.no_info_after_validator_function(check, core_schema.str_schema())

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the JSON Schema: the list of the names."""
        return {"enum": cls.names(), "type": "string"}
