"""Specs as YAML text, for people. A small and unsurprising part of YAML: maps, lists, text and whole numbers.

Refused, with the line: repeated keys, anchors and aliases (few lines can expand to gigabytes), tags, a second document,
and any text of more than 64 KiB. `no`, `on`, `1.5` and `12:30` stay text; YAML 1.1 would turn them into something else.
"""

import re
from typing import Any

import yaml

from pools.spec.errors import FieldError, SpecError
from pools.spec.schema import PoolSpec, parse_spec

MAX_BYTES = 64 * 1024
_LONG = 2**20  # never wrap a line: a diff compares whole values


class _Loader(yaml.SafeLoader):
    """SafeLoader cut down to four kinds of value, that refuses what a reader could overlook."""

    yaml_implicit_resolvers = {}
    yaml_constructors = {
        tag: yaml.SafeLoader.yaml_constructors[tag]
        for tag in (f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq", "str", "int", "null"))
    } | {None: yaml.SafeLoader.construct_undefined}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "anchor", None) is not None:
            raise yaml.composer.ComposerError(None, None, "anchors (&) and aliases (*) are refused", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping: dict[Any, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            problem = "repeated key" if isinstance(key, str) and key in mapping else None
            if not isinstance(key, str):
                problem = "a key must be text"
            if problem:
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            mapping[key] = self.construct_object(value_node, deep=deep)
        return mapping


_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"-?(0|[1-9][0-9]*)$"), list("-0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(null|~|)$"), ["n", "~", ""])


class _Dumper(yaml.SafeDumper):
    """SafeDumper with indented lists and no aliases."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def parse_yaml(text: str) -> PoolSpec:
    """Read a spec. Raises SpecError: for the text itself with path "" and the line (from 1), else as ``parse_spec``."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise SpecError([FieldError("", f"the text must be at most {MAX_BYTES // 1024} KiB long")])
    try:
        data = yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        # A key without its colon is noticed on the line after it.
        is_late = error.context == "while scanning a simple key"
        mark = error.context_mark if is_late else error.problem_mark
        line = mark.line + 1 if mark else None
        raise SpecError([FieldError("", f"not valid YAML: {error.problem or error.context}", line)]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SpecError([FieldError("", "not valid YAML: a character that YAML forbids", line)]) from None
    except RecursionError:
        raise SpecError([FieldError("", "not valid YAML: nested too deeply")]) from None
    except ValueError:
        raise SpecError([FieldError("", "not valid YAML: not a whole number, or one that is too large")]) from None
    return parse_spec(data)


def to_yaml(spec: PoolSpec) -> str:
    """The spec as YAML, every field present, in the schema's order. ``parse_yaml`` gives the same spec back."""
    return yaml.dump(spec.as_dict(), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_LONG)
