"""Python modules as data: written from a template that is itself a module, and read without being run."""

from __future__ import annotations

import ast
import json
from collections.abc import Set
from importlib.resources import files
from typing import Any

from augsearch.policies.errors import UserError, first_line

LINE = 110
"""Characters of a line at most."""

SETTINGS_END = "# End of the settings."
"""What a template has after its settings; they are written anew in their place."""


def template(name: str) -> str:
    """The text of the template ``name``, which lies beside this file."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def overlaid(*texts: str) -> str:
    """Templates behind one another as one, with the imports of the last that has any."""
    parts = [text.rpartition(f"{SETTINGS_END}\n") for text in texts]
    head = [head for head, end, _ in parts if end][-1]
    return head + f"{SETTINGS_END}\n" + "\n\n".join(body for _, _, body in parts)


def assigned(name: str, entries: dict[str, Any] | list[Any]) -> str:
    """``name = …`` as ruff formats it, each entry on a line of its own."""
    written = _broken(entries, "") if entries else literal(entries)
    return f"{name} = {written}"


def literal(value: Any) -> str:
    """A plain value as Python on one line, with double quotes."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(key)}: {literal(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(literal, value)) + (",)" if len(value) == 1 else ")")
    return json.dumps(value) if isinstance(value, str) else repr(value)


def _broken(value: Any, indent: str) -> str:
    """A collection with a line for each entry, and more where an entry has no room on one."""
    inner, lines = indent + "    ", []
    pairs = value.items() if isinstance(value, dict) else ((None, entry) for entry in value)
    for key, entry in pairs:
        begin = inner if key is None else f"{inner}{literal(key)}: "
        line = f"{begin}{literal(entry)},"
        fits = len(line) <= LINE or not isinstance(entry, dict | list | tuple) or not entry
        lines.append(line if fits else f"{begin}{_broken(entry, inner)},")
    brackets = "{}" if isinstance(value, dict) else "[]" if isinstance(value, list) else "()"
    return "\n".join([brackets[0], *lines, indent + brackets[1]])


def assembled(text: str, settings: str, roots: set[str]) -> str:
    """A module: ``settings`` in the place of the template's, and of its functions what ``roots`` need.

    Args:
        text: the template, a module, with ``SETTINGS_END`` after its imports. Where it defines a function
            twice the later one stands, as in any module, so that templates can be put behind one another.
        settings: the lines of the settings.
        roots: names of functions and classes to keep, with whatever they use.
    """
    head, body = text.split(f"{SETTINGS_END}\n")
    tree = ast.parse(body)
    last = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    tree.body = [node for node in tree.body if last.get(getattr(node, "name", ""), node) is node]
    kept = _needed(tree, ast.parse(settings), roots)
    code = _joined(body, [node for node in tree.body if getattr(node, "name", None) in kept | {None}])
    parts = (_imports(head, settings + "\n" + code), "", settings.strip(), "", "", code, "")
    return "\n".join(parts)


def _joined(body: str, nodes: list[ast.stmt]) -> str:
    """The lines of ``nodes``: functions and classes two lines apart, plain statements below one another."""
    lines, code, after_plain = body.splitlines(), "", False
    for node in nodes:
        plain = not isinstance(node, ast.FunctionDef | ast.ClassDef)
        gap = "" if not code else "\n" if plain and after_plain else "\n\n\n"
        code += gap + "\n".join(lines[node.lineno - 1 : node.end_lineno])
        after_plain = plain
    return code


def _needed(tree: ast.Module, settings: ast.Module, roots: set[str]) -> set[str]:
    """The names of the functions and classes that are used, directly or not."""
    uses = {node.name: _names(node) for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    waiting, kept = [*roots, *_names(settings)], set[str]()
    while waiting:
        name = waiting.pop()
        if name in uses and name not in kept:
            kept.add(name)
            waiting += uses[name]
    return kept


def _names(tree: ast.AST) -> set[str]:
    """The names that are used, without those of a function's own arguments and variables."""
    used = {tree.id} if isinstance(tree, ast.Name) else set[str]()
    for child in ast.iter_child_nodes(tree):
        used |= _names(child)
    if isinstance(tree, ast.FunctionDef | ast.Lambda):
        inside = list(ast.walk(tree))
        own = {node.arg for node in inside if isinstance(node, ast.arg)}
        own |= {node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        return used - own
    return used


def _imports(head: str, code: str) -> str:
    """The import lines of ``head`` that ``code`` uses, each of which imports one name; blank lines stay."""
    used = _names(ast.parse(code))
    kept: list[str] = []
    for line in head.strip().splitlines():
        node = ast.parse(line).body[0] if line else None
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {(alias.asname or alias.name).split(".")[0] for alias in node.names}
            if not names & used and not line.startswith("from __future__"):
                continue
        if line or (kept and kept[-1]):
            kept.append(line)
    return "\n".join(kept)


def settings_of(text: str, names: set[str], optional: Set[str] = frozenset()) -> dict[str, Any]:
    """The values of the module's settings, each a literal; the module is parsed, never run.

    Args:
        text: the module.
        names: of the settings.
        optional: which of them need not be there.

    Raises:
        UserError: it is no Python, has more or fewer of them, or one that is no literal.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"not valid Python ({first_line(error)})") from None
    found: dict[str, Any] = {}
    for node in tree.body:
        if not (
            isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
        ):
            continue
        name = node.targets[0].id
        if name not in names:
            continue
        if name in found:
            raise UserError(f"line {node.lineno}: {name} is set twice; leave one of them")
        try:
            found[name] = ast.literal_eval(node.value)
        except (ValueError, TypeError, RecursionError, MemoryError):
            raise UserError(
                f"line {node.lineno}: {name} is no plain value; write numbers and names there"
            ) from None
    missing = sorted(names - optional - found.keys())
    if missing:
        raise UserError(f"has no setting {', '.join(missing)}; give a file that augsearch export wrote")
    return found


def code_of(text: str, names: set[str]) -> str:
    """What a module does, whatever its settings, comments and documentation: to compare two of them."""
    tree = ast.parse(text)
    kept = []
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if any(isinstance(one, ast.Name) and one.id in names for one in targets):
            continue
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        kept.append(ast.dump(node))
    return "\n".join(kept)
