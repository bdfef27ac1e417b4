"""What a pickle holds, read off its opcodes: nothing is imported, called or made.

``pickletools.genops`` lists the opcodes. Here they move descriptions about on a stack, as the pickle machine would move
objects: a text stays a text, and where the machine would call something stands what it would call, with what.
"""

import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from pools.broker.payload_tree import TEXT_LIMIT, Node

OPCODE_LIMIT = 50_000
LITERAL_LIMIT = 500
SPREAD_LIMIT = 20
"""So many arguments of a call stand in its place; more keep their tuple, which a pickle can name again and again."""
NUMBER_BITS = 4096
PLAIN_TYPES = ["bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "object", "range"]
PLAIN_TYPES += ["set", "slice", "str", "tuple"]
PLAIN = frozenset(f"{module}.{name}" for module in ("builtins", "__builtin__") for name in PLAIN_TYPES)
"""Types of Python's own that only hold values. Whatever else a pickle names is code that loading it would run."""


class Damaged(ValueError):
    """The opcodes do not fit together."""


@dataclass
class Disassembly:
    """``root`` is what loading would make; None for a damaged or a longer pickle, of which ``literals`` are known.

    ``imports`` has dotted names as keys, in the order of their first use. ``problem`` says why reading ended too soon.
    """

    root: Node | None = None
    literals: list[Node] = field(default_factory=list)
    imports: dict[str, None] = field(default_factory=dict)
    opcodes: int = 0
    problem: str = ""


def disassemble(raw: bytes) -> Disassembly:
    """At most ``OPCODE_LIMIT`` opcodes of a pickle, described."""
    machine = _Machine()
    found = machine.found
    try:
        for opcode, argument, _ in pickletools.genops(raw):
            if found.opcodes == OPCODE_LIMIT:
                found.problem = f"it has more than {OPCODE_LIMIT:,} opcodes"
                return found
            found.opcodes += 1
            machine.step(opcode.name, argument)
    except (ValueError, IndexError, OverflowError) as error:
        found.root = None
        found.problem = f"it is damaged after {found.opcodes:,} opcodes: {error}"[:200]
    return found


class _Machine:
    def __init__(self) -> None:
        self.found = Disassembly()
        self._stack: list[Node] = []
        self._marks: list[int] = []
        self._memo: dict[int, Node] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in LITERALS:
            self._literal(_literal(name, argument))
        elif name in EMPTY:
            self._stack.append(Node(EMPTY[name], items=[]))
        elif name.endswith("PUT") or name == "MEMOIZE":
            self._memo[len(self._memo) if name == "MEMOIZE" else argument] = self._top()
        elif name.endswith("GET"):
            self._stack.append(self._memory(argument))
        elif name in STEPS:
            STEPS[name](self, argument)
        elif name not in SILENT:
            self.unknown(f"{name} {argument or ''}")

    def _literal(self, node: Node) -> None:
        if len(self.found.literals) < LITERAL_LIMIT:
            self.found.literals.append(node)
        self._stack.append(node)

    def _memory(self, number: int) -> Node:
        if number not in self._memo:
            raise Damaged("it speaks of something that it has not made")
        return self._memo[number]

    def _top(self) -> Node:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise Damaged("it takes more from its stack than there is")
        return self._stack[-1]

    def _pop(self) -> Node:
        top = self._top()
        self._stack.pop()
        return top

    def _since_mark(self) -> list[Node]:
        if not self._marks:
            raise Damaged("it looks for a mark that it has not set")
        begin = self._marks.pop()
        taken = self._stack[begin:]
        del self._stack[begin:]
        return taken

    def mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def drop(self, _: Any) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._pop()

    def drop_to_mark(self, _: Any) -> None:
        self._since_mark()

    def again(self, _: Any) -> None:
        self._stack.append(self._top())

    def stop(self, _: Any) -> None:
        self.found.root = self._pop()

    def short_tuple(self, size: int) -> None:
        items = [self._pop() for _ in range(size)][::-1]
        self._stack.append(_holding("tuple", items))

    def long(self, kind: str) -> None:
        self._stack.append(_holding(kind, self._since_mark()))

    def long_dict(self, _: Any) -> None:
        items = self._since_mark()
        made = Node("dict", items=[])
        self._stack.append(made)
        _set(made, items)

    def append(self, _: Any) -> None:
        item = self._pop()
        _add(self._top(), item)

    def extend(self, _: Any) -> None:
        items = self._since_mark()
        for item in items:
            _add(self._top(), item)

    def set_one(self, _: Any) -> None:
        value, key = self._pop(), self._pop()
        _set(self._top(), [key, value])

    def set_many(self, _: Any) -> None:
        items = self._since_mark()
        _set(self._top(), items)

    def build(self, _: Any) -> None:
        state = self._pop()
        _add(self._top(), state, "state")

    def name(self, argument: str) -> None:
        self._import(argument.replace(" ", ".", 1))

    def stack_name(self, _: Any) -> None:
        name, module = self._pop(), self._pop()
        known = name.kind == module.kind == "text"
        dotted = f"{module.text[:TEXT_LIMIT]}.{name.text[:TEXT_LIMIT]}"
        self._import(dotted if known else "a name that is made up while it loads")

    def _import(self, name: str) -> None:
        name = name[:TEXT_LIMIT]
        if len(self.found.imports) < LITERAL_LIMIT:
            self.found.imports[name] = None
        self._stack.append(Node("import", name))

    def unknown(self, what: str) -> None:
        self._stack.append(Node("unknown", f"something that only its reader knows: {what[:200]}"))

    def persistent(self, _: Any) -> None:
        self.unknown(self._pop().text)

    def call(self, _: Any) -> None:
        arguments, called = self._pop(), self._pop()
        self._stack.append(_call(called, [arguments]))

    def call_with_names(self, _: Any) -> None:
        named, arguments, called = self._pop(), self._pop(), self._pop()
        self._stack.append(_call(called, [arguments, named]))

    def call_listed(self, _: Any) -> None:
        items = self._since_mark()
        if not items:
            raise Damaged("it calls nothing")
        self._stack.append(_call(items[0], [_holding("tuple", items[1:])]))

    def call_named(self, argument: str) -> None:
        items = self._since_mark()
        self.name(argument)
        self._stack.append(_call(self._pop(), [_holding("tuple", items)]))


def _holding(kind: str, items: list[Node]) -> Node:
    return Node(kind, items=[(str(n), item) for n, item in enumerate(items)], size=len(items))


def _call(called: Node, arguments: list[Node]) -> Node:
    """What would be called, with its arguments; a callable that is itself made up stands first among them."""
    made = Node("call", called.text if called.kind == "import" else "", items=[])
    for name, node in [] if called.kind == "import" else [("what is called", called)]:
        _add(made, node, name)
    for node in arguments:
        if node.kind in ("tuple", "dict") and node.size <= SPREAD_LIMIT:
            for name, item in list(node.items):
                _add(made, item, name)
        else:
            _add(made, node, "arguments")
    return made


def _add(to: Node, item: Node, name: str = "") -> None:
    if not isinstance(to.items, list):
        to.items = []
    to.items.append((name or str(to.size), item))
    to.size += 1


def _set(to: Node, items: list[Node]) -> None:
    if len(items) % 2:
        raise Damaged("it sets a key without a value")
    for key, value in zip(items[::2], items[1::2], strict=True):
        _add(to, value, key.text or f"a {key.kind}")


def _literal(name: str, argument: Any) -> Node:
    match argument:
        case None | bool():
            return Node("word", {"NEWTRUE": "True", "NEWFALSE": "False"}.get(name, str(argument)))
        case int() if argument.bit_length() > NUMBER_BITS:
            return Node("number", f"a whole number of {argument.bit_length():,} bits")
        case int() | float():
            return Node("number", str(argument))
        case bytes() | bytearray():
            return Node("bytes", repr(bytes(argument[:TEXT_LIMIT])) + ("…" if len(argument) > TEXT_LIMIT else ""))
    return Node("text", str(argument))


LITERALS = frozenset({"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"})
LITERALS |= {"NONE", "NEWTRUE", "NEWFALSE", "STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE"}
LITERALS |= {"SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
EMPTY = {"EMPTY_LIST": "list", "EMPTY_TUPLE": "tuple", "EMPTY_DICT": "dict", "EMPTY_SET": "set"}
SILENT = frozenset({"PROTO", "FRAME", "READONLY_BUFFER"})
STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.drop,
    "POP_MARK": _Machine.drop_to_mark,
    "DUP": _Machine.again,
    "STOP": _Machine.stop,
    "TUPLE1": lambda machine, _: machine.short_tuple(1),
    "TUPLE2": lambda machine, _: machine.short_tuple(2),
    "TUPLE3": lambda machine, _: machine.short_tuple(3),
    "TUPLE": lambda machine, _: machine.long("tuple"),
    "LIST": lambda machine, _: machine.long("list"),
    "FROZENSET": lambda machine, _: machine.long("frozenset"),
    "DICT": _Machine.long_dict,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.extend,
    "ADDITEMS": _Machine.extend,
    "SETITEM": _Machine.set_one,
    "SETITEMS": _Machine.set_many,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.persistent,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "NEWOBJ_EX": _Machine.call_with_names,
    "OBJ": _Machine.call_listed,
    "INST": _Machine.call_named,
}
