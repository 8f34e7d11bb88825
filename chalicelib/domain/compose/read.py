"""From text to a tree: the YAML reader, which refuses a bomb before it grows.

It walks the parser's events and counts what aliases would expand to without expanding them, so a file that
would take all of a host's memory costs milliseconds here. Everything PyYAML would construct is left to
`scalars`, because Compose's reader takes plain values differently.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml
from yaml import events

from chalicelib.domain.compose import scalars
from chalicelib.domain.compose.findings import found

MOST_BYTES: Final = 256 * 1024
_MOST_NODES = 20_000
_MOST_EXPANDED_BYTES = 1024 * 1024
_MOST_DEPTH = 32

_Loader: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAGS = {f"tag:yaml.org,2002:{name}": name for name in ("str", "int", "float", "bool", "null", "map", "seq")}
_TAGGED_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "null": (type(None),),
}
_MERGE = "<<"


def read(text: str) -> dict[str, Any]:
    """The file as nested dicts, lists and scalars; aliased parts are shared, not copied. Raises ValidationFailed."""
    _admit(text)
    try:
        document = _Reader(yaml.parse(text, Loader=_Loader)).document()
    except yaml.YAMLError as error:
        raise found("", "not-yaml", _where(error)) from None
    if not isinstance(document, dict):
        raise found("", "no-services", "the file must be a mapping with a `services` key")
    return document


@dataclass
class _Weight:
    """What a node costs once every alias in it is expanded."""

    nodes: int = 1
    size: int = 0
    height: int = 0

    def hold(self, other: "_Weight") -> None:
        self.nodes += other.nodes
        self.size += other.size
        self.height = max(self.height, other.height + 1)


class _Reader:
    def __init__(self, stream: Iterator[Any]) -> None:
        self._stream = stream
        self._anchors: dict[str, tuple[Any, _Weight] | None] = {}
        self._weight = _Weight()

    def document(self) -> Any:
        next(self._stream)  # the stream's start
        if isinstance(next(self._stream), events.StreamEndEvent):
            raise found("", "no-services", "the file is empty")
        node, _ = self._node(next(self._stream), depth=0)
        next(self._stream)  # the document's end
        if not isinstance(next(self._stream), events.StreamEndEvent):
            raise found("", "multiple-documents", "keep one YAML document: remove everything from the second `---` on")
        return node

    def _node(self, event: Any, depth: int) -> tuple[Any, _Weight]:
        if depth > _MOST_DEPTH:
            raise found("", "too-deep", f"{_at(event)}: nested deeper than {_MOST_DEPTH} levels")
        if isinstance(event, events.AliasEvent):
            return self._aliased(event, depth)
        return self._written(event, depth)

    def _aliased(self, event: Any, depth: int) -> tuple[Any, _Weight]:
        if event.anchor not in self._anchors:
            raise found("", "not-yaml", f"{_at(event)}: the alias names an anchor that is not defined before it")
        anchored = self._anchors[event.anchor]
        if anchored is None:
            raise found("", "alias-expansion", f"{_at(event)}: an anchor contains itself; write the value out")
        if depth + anchored[1].height > _MOST_DEPTH:
            raise found("", "too-deep", f"{_at(event)}: aliases nest deeper than {_MOST_DEPTH} levels")
        self._spend(event, anchored[1])
        return anchored

    def _written(self, event: Any, depth: int) -> tuple[Any, _Weight]:
        if event.anchor:
            self._anchors[event.anchor] = None
        weight = _Weight()
        self._spend(event, weight)
        if isinstance(event, events.ScalarEvent):
            node = self._scalar(event)
            weight.size = len(event.value)
            self._spend(event, _Weight(0, weight.size))
        elif isinstance(event, events.SequenceStartEvent):
            node = self._sequence(event, weight, depth)
        else:
            node = self._mapping(event, weight, depth)
        if event.anchor:
            self._anchors[event.anchor] = (node, weight)
        return node, weight

    def _spend(self, event: Any, weight: _Weight) -> None:
        self._weight.nodes += weight.nodes
        self._weight.size += weight.size
        if self._weight.nodes > _MOST_NODES or self._weight.size > _MOST_EXPANDED_BYTES:
            rule = "alias-expansion" if self._anchors else "too-large"
            raise found("", rule, f"{_at(event)}: expands to more than {_MOST_NODES} values or 1 MiB; write less")

    def _scalar(self, event: Any) -> Any:
        tag = _tag(event)
        if tag in ("map", "seq"):
            raise found("", "not-yaml", f"{_at(event)}: the tag does not fit the value")
        if tag == "str" or (tag is None and not event.implicit[0]):
            return event.value
        try:
            value = scalars.resolve(event.value)
        except ValueError as error:
            raise found("", "not-yaml", f"{_at(event)}: {error}") from None
        if tag is not None and not isinstance(value, _TAGGED_TYPES[tag]):
            raise found("", "not-yaml", f"{_at(event)}: the tag does not fit the value")
        return value

    def _sequence(self, event: Any, weight: _Weight, depth: int) -> list[Any]:
        if _tag(event) not in (None, "seq"):
            raise found("", "not-yaml", f"{_at(event)}: the tag does not fit the value")
        items = []
        while not isinstance(event := next(self._stream), events.SequenceEndEvent):
            item, cost = self._node(event, depth + 1)
            weight.hold(cost)
            items.append(item)
        return items

    def _mapping(self, event: Any, weight: _Weight, depth: int) -> dict[str, Any]:
        if _tag(event) not in (None, "map"):
            raise found("", "not-yaml", f"{_at(event)}: the tag does not fit the value")
        own: dict[str, Any] = {}
        merged: dict[str, Any] | None = None
        while not isinstance(event := next(self._stream), events.MappingEndEvent):
            key, key_cost = self._node(event, depth + 1)
            node, cost = self._node(next(self._stream), depth + 1)
            weight.hold(key_cost)
            weight.hold(cost)
            if key == _MERGE and _is_plain(event):
                if merged is not None:
                    raise found("", "duplicate-key", f"{_at(event)}: `<<` is written twice; give it one list")
                merged = _merge(event, node)
            else:
                own[_new_key(event, key, own)] = node
        return {**(merged or {}), **own}


def _admit(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise found("", "not-yaml", "the text is not valid Unicode") from None
    if size > MOST_BYTES:
        raise found("", "too-large", f"the file is {size} bytes; at most {MOST_BYTES} are read")


def _new_key(event: Any, key: Any, mapping: dict[str, Any]) -> str:
    if isinstance(key, int) and not isinstance(key, bool):
        key = str(key)
    if not isinstance(key, str):
        raise found("", "not-yaml", f"{_at(event)}: a key must be text; put it in quotes")
    if key in mapping:
        raise found("", "duplicate-key", f"{_at(event)}: the key is written twice; keep one")
    return key


def _merge(event: Any, node: Any) -> dict[str, Any]:
    sources = node if isinstance(node, list) else [node]
    if not all(isinstance(source, dict) for source in sources):
        raise found("", "not-yaml", f"{_at(event)}: `<<` takes a mapping or a list of mappings")
    merged: dict[str, Any] = {}
    for source in reversed(sources):  # the first one named wins
        merged.update(source)
    return merged


def _is_plain(event: Any) -> bool:
    return isinstance(event, events.ScalarEvent) and bool(event.implicit[0])


def _tag(event: Any) -> str | None:
    if event.tag in (None, "!"):
        return None
    if event.tag not in _TAGS:
        raise found("", "yaml-tag", f"{_at(event)}: remove the tag; only YAML's plain types are read")
    return _TAGS[event.tag]


def _at(event: Any) -> str:
    return f"line {event.start_mark.line + 1}, column {event.start_mark.column + 1}"


def _where(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "the text holds a character that YAML does not allow"
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return f"{place}{problem}"
