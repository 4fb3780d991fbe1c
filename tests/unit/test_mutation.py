"""What `benchmarks/mutation.py` plants: each fault is a small change of the text, and words are left alone."""

import pytest

from mutation_operators import mutants_of

CHANGES = {
    "x = a < b": ["x = (a <= b)"],
    "x = a == b": ["x = (a != b)"],
    "x = a - b": ["x = (a + b)"],
    "x = a // b": ["x = (a / b)"],
    "x = a and b": ["x = (a or b)"],
    "x = not a": ["x = (a)"],
    "x = 3": ["x = 4"],
    "x = True": ["x = False"],
    "f(a)": ["pass"],
    "a += b": ["pass"],
    "a.b = c": ["pass"],
    "a[b] = c": ["pass"],
    "def f():\n    return a": ["def f():\n    return None"],
    "def f():\n    raise a": ["def f():\n    pass"],
    "x = é < b": ["x = (é <= b)"],
}
ALONE = {
    "an annotation": "x: int | None = a",
    "a result's annotation": "def f() -> int | None: ...",
    "a docstring": '"""One and 2."""',
    "a message in the log": "log.warning('%d of 3', a + b)",
    "an f-string": "x = f'{a + 1:.2f}'",
    "a sum of texts": "x = 'a' + b",
    "what only a type checker sees": "if TYPE_CHECKING:\n    f(3)",
    "no result": "def f():\n    return None",
}


def changed(text):
    source = text.encode()
    return [mutant.apply(source).decode() for mutant in mutants_of("a.py", source)]


@pytest.mark.parametrize("text", CHANGES)
def test_a_fault_is_a_change_of_the_text(text):
    assert changed(text) == CHANGES[text]


@pytest.mark.parametrize("what", ALONE)
def test_words_promise_nothing(what):
    assert changed(ALONE[what]) == []


def test_the_message_of_an_error_stays_and_the_error_may_go():
    assert changed("raise E(3, a + b)") == ["pass"]


def test_a_fault_knows_its_line_and_the_function_around_it():
    text = b"a = 1\n\n@cached\ndef f():\n    def g():\n        return 2\n    return a\n"
    found = {(each.line, each.operator, each.function) for each in mutants_of("a.py", text)}
    assert found == {(1, "constant", 0), (6, "return", 5), (6, "constant", 5), (7, "return", 3)}
