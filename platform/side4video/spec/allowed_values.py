"""What may stand in a field, in plain words, from the details of Pydantic's error."""

from pydantic_core import ErrorDetails

_TYPES = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number that is not so large",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a section",
    "mapping_type": "a section",
    "none_required": "nothing",
}
_BOUNDS = {
    "greater_than": ("gt", "a number greater than {}"),
    "greater_than_equal": ("ge", "a number of at least {}"),
    "less_than": ("lt", "a number less than {}"),
    "less_than_equal": ("le", "a number of at most {}"),
    "multiple_of": ("multiple_of", "a multiple of {}"),
    "string_too_short": ("min_length", "text of at least {} characters"),
    "string_too_long": ("max_length", "text of at most {} characters"),
    "too_short": ("min_length", "at least {} values"),
    "too_long": ("max_length", "at most {} values"),
}
_PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$": "1 to 80 of A-Z a-z 0-9 . _ -, beginning with a letter or a digit",
    r"^[A-Za-z0-9][A-Za-z0-9._-]{0,47}$": "1 to 48 of A-Z a-z 0-9 . _ -, beginning with a letter or a digit",
}


def allowed_values(details: ErrorDetails) -> str:
    """What may stand there, for errors of a type, a bound or a pattern; else Pydantic's message."""
    kind, context = details["type"], details.get("ctx", {})
    if kind in _TYPES:
        return _TYPES[kind]
    if kind in _BOUNDS:
        name, text = _BOUNDS[kind]
        return text.format(_plain(context.get(name)))
    if kind == "string_pattern_mismatch":
        pattern = str(context.get("pattern"))
        return _PATTERNS.get(pattern, f"text that matches {pattern}")
    message = details["msg"]
    for start in ("Input should be ", "String should ", "Value should ", "Value error, "):
        message = message.removeprefix(start)
    return message


def _plain(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value
