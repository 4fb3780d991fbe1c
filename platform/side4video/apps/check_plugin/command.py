"""`side4video check-plugin`: the command."""

import json
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from side4video.core.allowed_plugins import allow_plugins, find_allowed
from side4video.core.errors import InputError, Terminated
from side4video.terminal.options import as_json, example
from side4video.terminal.output import print_text

if TYPE_CHECKING:
    from side4video.apps.check_plugin.check import Check
    from side4video.core.plugin import LoadedPlugin
    from side4video.core.spec import Spec


@click.command(
    "check-plugin",
    short_help="Try the parts of a plug-in.",
    epilog=example("check-plugin my_parts.py", "check-plugin my_parts.py --set my-clips.root=/videos"),
)
@click.argument("source", metavar="FILE|MODULE")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KIND.FIELD=VALUE",
    help="Give a field of a part, such as --set my-clips.root=/videos. Repeatable.",
)
@as_json
def check_plugin(source: str, settings: tuple[str, ...], as_json: bool) -> None:
    """Load a plug-in and try each of its parts: data sets, methods, transforms and metrics.

    Methods are trained for a few steps on generated clips. Nothing is recorded. The exit code is 1 if a rule is broken.
    """
    from side4video.plugins.loading import load_plugin
    from side4video.spec.load import apply_override

    allow_plugins(source)  # naming it here is the permission
    loaded = load_plugin(source, where="check-plugin")
    fields: dict[str, Any] = {}
    for setting in settings:
        apply_override(fields, setting)
    _refuse_unknown_kinds(fields, loaded)
    checks = []
    for check in _checks(loaded, find_allowed(source), fields):
        checks.append(check)
        if not as_json:
            print_text(f"{'FAILED' if check.problem else 'ok'}  {check.part}: {check.rule}{_because(check)}")
    broken = sum(bool(each.problem) for each in checks)
    if as_json:
        rows = [{"part": each.part, "rule": each.rule, "problem": each.problem} for each in checks]
        click.echo(json.dumps({"source": source, "sha256": loaded.sha256, "broken": broken, "checks": rows}, indent=2))
    else:
        print_text(f"{source}: {len(checks) - broken} of {len(checks)} rules are kept")
    if broken:
        sys.exit(1)


def _because(check: "Check") -> str:
    return f": {check.problem}" if check.problem else ""


def _checks(loaded: "LoadedPlugin", source: str, fields: Mapping[str, Any]) -> "Iterator[Check]":
    from side4video.apps.check_plugin.check import Check, check_rules
    from side4video.apps.check_plugin.dataset_rules import dataset_rules
    from side4video.apps.check_plugin.method_rules import method_rules
    from side4video.apps.check_plugin.metric_rules import metric_rules
    from side4video.apps.check_plugin.transform_rules import transform_rules
    from side4video.core.plugin import kind_of

    plugin = loaded.plugin
    rules: Mapping[str, Any] = {
        "data set": lambda part: dataset_rules(part),
        "method": lambda part: method_rules(type(part), part.model_dump(mode="json"), source),
        "transform": lambda part: transform_rules(part),
    }
    for word, parts in zip(rules, (plugin.datasets, plugin.methods, plugin.transforms), strict=True):
        for part in parts:
            name, made = f"{word} {kind_of(part)}", _make(part, fields, source)
            if isinstance(made, str):
                yield Check(name, "can be made of its defaults and --set", made)
            else:
                yield from check_rules(name, rules[word](made), source)
    for metrics, is_retrieval in ((plugin.recognition_metrics, False), (plugin.retrieval_metrics, True)):
        for metric in metrics:
            yield from check_rules(f"metric {metric.name}", metric_rules(metric, is_retrieval=is_retrieval), source)


def _make(part: "type[Spec]", fields: Mapping[str, Any], source: str) -> "Spec | str":
    """The part with the fields that were given; or a sentence about those that are wrong."""
    from pydantic import ValidationError

    from side4video.core.plugin import kind_of
    from side4video.core.plugin_fault import raised

    kind = kind_of(part)
    try:
        return part.model_validate({"kind": kind, **fields.get(kind, {})})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(each) for each in first["loc"])
        return f"{field}: {first['msg'].lower()} · fix: --set {kind}.{field or 'FIELD'}=VALUE"
    except (KeyboardInterrupt, Terminated):
        raise
    except BaseException as error:  # whatever a validator of the part raises
        return f"the check of its fields raised {raised(error, source)}"


def _refuse_unknown_kinds(fields: Mapping[str, Any], loaded: "LoadedPlugin") -> None:
    from side4video.core.plugin import kind_of

    plugin = loaded.plugin
    kinds = [kind_of(part) for part in (*plugin.datasets, *plugin.methods, *plugin.transforms)]
    for kind, given in fields.items():
        if kind not in kinds or not isinstance(given, Mapping):
            allowed = f"KIND.FIELD=VALUE with a kind of {', '.join(kinds)}" if kinds else "none: metrics have no fields"
            raise InputError(
                "--set", kind, allowed=allowed, fix="leave it out" if not kinds else "name the kind of a part"
            )
