"""Help pages and function lists in the layout of Dagger's command line."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping

from daggerw_engine.command.arguments.parsing import LETTERS, OPTIONS, Parsed, functions
from daggerw_engine.command.arguments.values import READERS, is_supported
from daggerw_engine.command.modules.typedefs import Argument, Catalogue, Function

COMMANDS = {
    "cache": "Show or remove what the embedded engine keeps; Dagger has no such command",
    "call": "Call one or more functions, interconnected into a pipeline",
    "check": "Run the functions that are marked as checks, or those that patterns name; -l lists them",
    "functions": "List available functions",
    "help": "Show this page",
    "session": "Serve the API to a program until its end of standard input",
    "version": "Print the version",
}
SCALARS = {"String": "string", "Int": "int", "Float": "float", "Boolean": "bool"}
GAP = "   "


def format_overview() -> str:
    """Return the help page of the command itself."""
    return _page(
        "Dagger's command line, answered by the embedded engine.",
        ("Usage", ["  daggerw [options] <command>"]),
        ("Commands", _table(COMMANDS)),
        ("Options", _flags(OPTIONS.values())),
        ("", ['Use "daggerw <command> --help" for more about a command.']),
    )


def format_page(parsed: Parsed, catalogue: Catalogue) -> str:
    """Return the help page of the last function of a command line."""
    called = len(parsed.levels) > 1
    function = parsed.last
    arguments = [argument for argument in function.arguments if is_supported(argument, catalogue)]
    owner = catalogue.object(function.returns.name)
    known = functions(owner, catalogue) if owner else {}
    use = [parsed.command, *([] if called else ["[options]"]), *(["[arguments]"] if arguments else [])]
    return _page(
        function.doc if called else COMMANDS["call"],
        ("Usage", ["  " + " ".join([*use, *(["<function>"] if known else [])])]),
        ("Functions", _table({name: first_line(entry.doc) for name, entry in known.items()})),
        ("Arguments", _flags(sorted(arguments, key=_order), catalogue)),
        ("Options", [] if called else _flags(OPTIONS.values())),
        ("", [f'Use "{parsed.command} <function> --help" for more about a function.'] if known else []),
    )


def format_list(known: Mapping[str, Function]) -> str:
    """Return the list that `functions` and `check --list` print."""
    width = max(map(len, [*known, "Name"]))
    rows = {"Name": "Description"} | {name: first_line(entry.doc) for name, entry in known.items()}
    return "".join(f"{name:{width}}{GAP}{doc}".rstrip() + "\n" for name, doc in rows.items())


def first_line(doc: str) -> str:
    """Return the first line of a description; a dash for an empty one, as Dagger does."""
    return doc.partition("\n")[0] or "-"


def _page(intro: str, *sections: tuple[str, list[str]]) -> str:
    blocks = ["\n".join([*([title.upper()] if title else []), *lines]) for title, lines in sections if lines]
    return "\n\n".join([*([intro] if intro else []), *blocks]) + "\n"


def _table(rows: Mapping[str, str]) -> list[str]:
    width = max(map(len, rows), default=0)
    return [line for name, doc in rows.items() for line in _wrap(f"  {name:{width}}{GAP}", doc)]


def _order(argument: Argument) -> tuple[bool, str]:
    return not argument.is_required, argument.flag


def _flags(arguments: Iterable[Argument], catalogue: Catalogue | None = None) -> list[str]:
    heads = {_head(argument, catalogue): _tail(argument) for argument in arguments}
    width = max(map(len, heads), default=0)
    return [line for head, doc in heads.items() for line in _wrap(f"{head:{width}}{GAP}", doc)]


def _head(argument: Argument, catalogue: Catalogue | None) -> str:
    letter = next((letter for letter, name in LETTERS.items() if OPTIONS.get(name) is argument), None)
    start = f"  -{letter}, " if letter else "      "
    return f"{start}--{argument.flag} {_kind(argument, catalogue)}".rstrip()


def _kind(argument: Argument, catalogue: Catalogue | None) -> str:
    """Return a flag's type name: empty for a switch, `strings` for a list, an enum's members."""
    name = argument.type.name
    if catalogue and name not in READERS and (members := catalogue.enum(name)):
        name = ",".join(members)
    if argument.type.many:
        return f"{SCALARS[name]}s" if name in SCALARS else f"[]{name}"
    return "" if name == "Boolean" else SCALARS.get(name, name)


def _tail(argument: Argument) -> str:
    required = "[required]" if argument.is_required else ""
    return " ".join(filter(None, (" ".join(argument.doc.split()), _default(argument), required)))


def _default(argument: Argument) -> str:
    if (place := argument.default_path or argument.default_address) is not None:
        return f'(default "{place}")'
    empty = {"null", '""', "[]", "false", "0", "0.0", None}
    if argument.default in empty or argument.default is None:
        return ""
    is_text = argument.type.name == "String"
    return f"(default {argument.default if is_text else argument.default.strip(chr(34))})"


def _wrap(head: str, text: str) -> list[str]:
    width = max(shutil.get_terminal_size().columns - 1, len(head) + 20)
    indent = " " * len(head)
    return textwrap.wrap(text, width, initial_indent=head, subsequent_indent=indent) or [head.rstrip()]
