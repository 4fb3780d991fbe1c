"""One rule that a part of a plug-in keeps or breaks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from side4video.core.errors import Side4VideoError, Terminated
from side4video.core.plugin_fault import PluginFault, raised
from side4video.core.spec import Spec

Rule = tuple[str, Callable[[], str]]
"""What is checked, and a function that returns what is wrong; empty if nothing is."""


@dataclass(frozen=True)
class Check:
    """The result of a rule."""

    part: str
    """`method max-probe`."""
    rule: str
    problem: str = ""
    """What is wrong, in a sentence; empty if the rule is kept."""


def is_read_again(part: Spec) -> str:
    """What is wrong if a part is written as JSON and read again."""
    again = type(part).model_validate_json(part.model_dump_json())
    return "" if again == part else "another document was read than was written"


def check_rules(part: str, rules: Iterator[Rule], source: str) -> Iterator[Check]:
    """The result of each rule. Errors of the plug-in are problems, with the line of its file."""
    while True:
        rule = "can be tried"
        try:
            try:
                rule, find_problem = next(rules)
            except StopIteration:
                return
            problem = find_problem()
        except PluginFault as error:
            problem = error.found + (f" · allowed: {error.allowed}" if error.allowed else "")
        except Side4VideoError as error:
            problem = str(error)
        except (KeyboardInterrupt, Terminated):
            raise
        except BaseException as error:  # a part that leaves, by `sys.exit` or so, must not end the report
            problem = raised(error, source)
        yield Check(part, rule, " ".join(problem.split()))
