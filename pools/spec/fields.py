"""Kinds of text that a spec may hold. Every string is NFC, free of control and invisible characters, and of one shape.

Configs are compared, signed and read by people: two strings that look alike must be alike (a bidirectional or
zero-width character in a diff hides what is being approved).
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"
LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
DOTTED = rf"{IDENTIFIER}(\.{IDENTIFIER})*"


def clean_text(value: str) -> str:
    """Return ``value`` in NFC; raise ValueError when it holds a control or invisible character."""
    text = unicodedata.normalize("NFC", value)
    for character in text:
        if unicodedata.category(character) in INVISIBLE:
            raise ValueError(f"must not hold the control or invisible character U+{ord(character):04X}")
    return text


@dataclass(frozen=True)
class Matching:
    """Clean text that matches ``pattern`` wholly; ``rule`` completes the sentence "The value …" for a person."""

    pattern: str
    rule: str

    def check(self, value: str) -> str:
        text = clean_text(value)
        if re.fullmatch(self.pattern, text) is None:
            raise ValueError(self.rule)
        return text

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), "pattern": f"^({self.pattern})$"}


@dataclass(frozen=True)
class Unique:
    """A list of strings that names nothing twice."""

    def check(self, values: list[str]) -> list[str]:
        seen: set[str] = set()
        for value in values:
            if value in seen:
                raise ValueError(f"must not name {value} twice")
            seen.add(value)
        return values

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {**handler(core), "uniqueItems": True}


QueueName = Annotated[
    str, Matching(r"[A-Za-z0-9_.:-]{1,200}", "must be 1 to 200 letters, digits or any of _ . : - (a queue's name)")
]
LabelName = Annotated[
    str, Matching(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}", "must be 1 to 63 letters, digits or any of _ . / - (a label)")
]
LabelValue = Annotated[str, Matching(r".{1,200}", "must be 1 to 200 characters")]
AbsolutePath = Annotated[
    str,
    Matching(r"(/(?!\.\.(/|$))[^/]*)*", "must be empty or an absolute path without '..'"),
    Field(max_length=4096),
]
PreloadName = Annotated[
    str,
    Matching(rf"(django:)?{DOTTED}", "must be a module's name, or django: and a settings module"),
    Field(max_length=200),
]
VariableName = Annotated[str, Matching(r"[A-Za-z_][A-Za-z0-9_]{0,127}", "must be an environment variable's name")]
SecretName = Annotated[
    str,
    Matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", "must be 1 to 100 letters, digits or any of _ . - (a secret's name)"),
]
TaskPattern = Annotated[
    str,
    Matching(r"[A-Za-z0-9_.*?\[\]!-]{1,200}", "must be a task's dotted name; * ? and [ ] match as in file names"),
]
ExceptionName = Annotated[
    str,
    Matching(DOTTED, "must be an exception's dotted name, such as requests.exceptions.Timeout"),
    Field(max_length=200),
]
Address = Annotated[
    str,
    Matching(
        rf"((\*\.)?{LABEL}(\.{LABEL})*|\[[0-9a-f:.]+\]):[1-9][0-9]{{0,4}}",
        "must be a host and a port in lower case, such as api.example.com:443, *.example.com:443 or [2001:db8::1]:443",
    ),
    Field(max_length=260),
]
CronName = Annotated[
    str,
    Matching(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", "must be 1 to 63 letters, digits or any of _ - (a cron entry's name)"),
]
GateName = Annotated[
    str,
    Matching(
        r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}", "must be 1 to 63 letters, digits or any of _ - (a breaker's or limit's name)"
    ),
]
ArgumentPath = Annotated[
    str,
    Matching(r"([\w-]+(\.[\w-]+)*)?", "must be names or places with dots between, such as user.id; or queue; or empty"),
    Field(max_length=100),
]
TaskName = Annotated[
    str,
    Matching(rf"{IDENTIFIER}(\.{IDENTIFIER})+", "must be a task's dotted name, such as shop.tasks.report"),
    Field(max_length=200),
]
OptionalTask = Annotated[
    str,
    Matching(rf"({IDENTIFIER}(\.{IDENTIFIER})+)?", "must be a task's dotted name, such as shop.tasks.report, or empty"),
    Field(max_length=200),
]
