"""Numbers with their nouns."""


def counted(number: int, noun: str, many: str = "") -> str:
    """`1 class`, `2 classes`: `many` is the plural, where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else many or f'{noun}s'}"
