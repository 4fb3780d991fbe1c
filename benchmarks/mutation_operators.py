"""Small faults in a module's source, as replacements of its text.

Why not a tool: mutmut runs the tests in a folder of its own, where it finds neither this source root nor the tests'
support modules; cosmic-ray removes no statement and no result, has one command of tests for all modules, and changes
the checkout itself. A fault here is a piece of text, so that its diff is what a reader of the code would see.

What is left alone: annotations, log messages and the text of errors, for their words promise nothing to a program.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
ARITHMETIC: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
REMOVED = (ast.AugAssign, ast.Delete, ast.Raise, ast.Continue, ast.Break)


@dataclass(frozen=True)
class Mutant:
    """One fault."""

    file: str
    line: int
    operator: str
    begin: int
    """Where the text is replaced, in bytes."""
    end: int
    text: str
    function: int
    """First line of the function around it, its decorators included; 0 at a module's or a class's level."""

    def apply(self, source: bytes) -> bytes:
        """The module with the fault."""
        return source[: self.begin] + self.text.encode() + source[self.end :]


def mutants_of(file: str, source: bytes) -> list[Mutant]:
    """All faults of a module, in the order of its lines."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    for node, function in _walk(ast.parse(source), 0):
        for operator, text in _changes(node):
            begin = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            found.append(Mutant(file, node.lineno, operator, begin, end, text, function))
    return sorted(found, key=lambda each: (each.begin, each.operator, each.text))


def _walk(node: ast.AST, function: int) -> Iterator[tuple[ast.AST, int]]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        function = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list") or (name == "exc" and isinstance(node, ast.Raise)):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not _is_words(child):
                yield child, function
                yield from _walk(child, function)


def _is_words(node: ast.AST) -> bool:
    """An f-string, a log message, or what only a type checker sees."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    call = node.value if isinstance(node, ast.Expr) else node
    is_log = isinstance(call, ast.Call) and ast.unparse(call.func).startswith(("log.", "logger.", "logging."))
    return isinstance(node, ast.JoinedStr) or is_log


def _changes(node: ast.AST) -> Iterator[tuple[str, str]]:
    """The name of the operator, and the new text."""
    match node:
        case ast.Compare(ops=[operation, *_]):
            changed = copy.deepcopy(node)
            changed.ops[0] = COMPARISONS[type(operation)]()
            yield "comparison", f"({ast.unparse(changed)})"
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in ARITHMETIC:
            texts = (each for each in (left, right) if isinstance(each, ast.JoinedStr | ast.Constant))
            if all(isinstance(each, ast.Constant) and not isinstance(each.value, str) for each in texts):
                changed = ast.BinOp(left, ARITHMETIC[type(operation)](), right)
                yield "arithmetic", f"({ast.unparse(changed)})"
        case ast.BoolOp(op=operation, values=values):
            other = ast.Or() if isinstance(operation, ast.And) else ast.And()
            yield "boolean", f"({ast.unparse(ast.BoolOp(other, values))})"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "boolean", f"({ast.unparse(operand)})"
        case ast.Constant(value=bool() as value):
            yield "constant", str(not value)
        case ast.Constant(value=int() | float() as value):
            yield "constant", repr(value + 1)
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "return", "return None"
        case ast.Expr(value=ast.Call() | ast.Await()):
            yield "removal", "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "removal", "pass"
        case _ if isinstance(node, REMOVED):
            yield "removal", "pass"
