"""Guards the methods of plug-ins' parts: what they raise or return is told as the plug-in's fault, in one sentence.

A guard stands in the class itself, so it holds for each caller: validation, planning, training, prediction, and a
process that only receives the part. Transforms are guarded where they are applied (`apply_transforms`).
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Integral
from typing import Any

from side4video.core.plugin import Plugin, part_name, plugin_source
from side4video.core.plugin_fault import PluginFault, is_fault, mend, plugin_file, raised
from side4video.core.spec import Spec
from side4video.data.clip import SPLITS, Clip
from side4video.data.dataset_spec import DatasetSpec
from side4video.models.feature_request import FeatureRequest
from side4video.models.method import MethodSpec

Check = Callable[[Any, Any, Sequence[Any]], Any]
"""Takes a part, what its method returned and the method's arguments; returns what callers get."""

_is_inside: ContextVar[bool] = ContextVar("a guarded method of a plug-in is running", default=False)
_GUARDED = "is_guarded_method"


def guard_parts(plugin: Any) -> None:
    """Guard the methods of all parts; what is no part stays as it is, for `check_plugin` to tell."""
    if not isinstance(plugin, Plugin):
        return
    for name, (base, checks) in _CHECKS.items():
        parts: Any = getattr(plugin, name)
        for part in parts if isinstance(parts, tuple | list) else ():
            if isinstance(part, type) and issubclass(part, base):
                _guard_class(part, base, checks)


def fault(part: Spec, found: str, *, allowed: str = "") -> PluginFault:
    """The error that says what is wrong with a part."""
    return PluginFault(part_name(type(part)), found, allowed=allowed, fix=mend(plugin_source(type(part))))


@contextmanager
def blamed_on(part: Spec, what: str) -> Iterator[None]:
    """In the block, code of a plug-in runs; `what` is its name.

    Raises:
        PluginFault: The code raised an error.
    """
    token = _is_inside.set(True)
    try:
        yield
    except BaseException as error:
        if not is_fault(error):
            raise
        raise fault(part, f"{what} raised {raised(error, plugin_file(type(part)))}") from error
    finally:
        _is_inside.reset(token)


def _guard_class(part: type[Any], base: type[Spec], checks: Mapping[str, Check]) -> None:
    for hook, check in checks.items():
        method = getattr(part, hook)
        if method is not getattr(base, hook) and callable(method) and not hasattr(method, _GUARDED):
            setattr(part, hook, _guarded(hook, method, check))


def _guarded(hook: str, method: Callable[..., Any], check: Check) -> Callable[..., Any]:
    @functools.wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if _is_inside.get():  # another method of a plug-in calls it, and that one is checked
            return method(self, *args, **kwargs)
        called = f"{hook}({', '.join(repr(each) for each in args if isinstance(each, str))})"
        try:
            with blamed_on(self, called):
                result = method(self, *args, **kwargs)
        except PluginFault:
            if hook == "clips":  # which look their classes up: what is wrong there comes first
                self.classes()
            raise
        return check(self, result, args)

    setattr(call, _GUARDED, True)
    return call


def _classes(dataset: DatasetSpec, found: Any, args: Sequence[Any]) -> tuple[str, ...]:
    del args
    allowed = "a tuple of texts, each once"
    if not isinstance(found, tuple | list):  # a text would be taken for classes of a letter, a set has no order
        raise fault(dataset, f"classes() returned {_kind(found)}", allowed=allowed)
    names: tuple[Any, ...] = tuple(found)
    other = next((name for name in names if not isinstance(name, str) or not name), None)
    if len(names) != sum(isinstance(name, str) and bool(name) for name in names):
        raise fault(dataset, f"classes() has something that is no text: {other!r}", allowed=allowed)
    if len(set(names)) < len(names):
        twice = next(name for position, name in enumerate(names) if name in names[:position])
        raise fault(dataset, f"classes() has a name twice: {twice}", allowed=allowed)
    return names


def _splits(dataset: DatasetSpec, found: Any, args: Sequence[Any]) -> tuple[str, ...]:
    del args
    allowed = "a tuple of train, test and, where there is one, val"
    if not isinstance(found, tuple | list):
        raise fault(dataset, f"splits() returned {_kind(found)}", allowed=allowed)
    others = [each for each in found if each not in SPLITS]
    missing = [each for each in ("train", "test") if each not in found]
    if others:
        raise fault(dataset, f"splits() has {others[0]!r}", allowed=allowed)
    if missing:
        raise fault(dataset, f"splits() lacks {missing[0]}", allowed=allowed)
    if len(set(found)) < len(found):
        raise fault(dataset, "splits() has a split twice", allowed=allowed)
    return tuple(found)


def _clips(dataset: DatasetSpec, found: Any, args: Sequence[Any]) -> Sequence[Clip]:
    called = f"clips({args[0]!r})" if args else "clips()"
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise fault(dataset, f"{called} returned {_kind(found)}", allowed="a list of Clip")
    clips: Sequence[Any] = found
    if not clips:
        raise fault(dataset, f"{called} is empty: the split has no videos", allowed="a list with a Clip at least")
    classes = len(dataset.classes())
    for position, clip in enumerate(clips):
        if not isinstance(clip, Clip):
            problem, allowed = f"is {_kind(clip)}, not a Clip", "Clip(path, label)"
        else:
            problem, allowed = _clip_problem(clip, classes)
        if problem:
            raise fault(dataset, f"{called}[{position}] {problem}", allowed=allowed)
    return clips


def _clip_problem(clip: Any, classes: int) -> tuple[str, str]:
    """What is wrong with a clip, and what is allowed; two empty texts if nothing is."""
    if not isinstance(clip.path, str) or not clip.path:
        return f"has the path {clip.path!r}", "a text: str(path)"
    label = clip.label
    if label is not None and (not isinstance(label, Integral) or isinstance(label, bool)):
        return f"has the label {label!r}", "the position of its class in classes(), a whole number; or None"
    if label is not None and not 0 <= int(label) < classes:
        last = f"0 to {classes - 1}" if classes else "None"
        return f"has the label {label}, and there are {classes} classes", last
    captions = clip.captions
    if not isinstance(captions, tuple | list) or not all(isinstance(each, str) for each in captions):
        return f"has the captions {captions!r}", "a tuple of texts"
    return "", ""


def _flipped_classes(dataset: DatasetSpec, found: Any, args: Sequence[Any]) -> Mapping[int, int] | None:
    del args
    if found is None:
        return None
    allowed = "a mapping of labels to labels, or None"
    if not isinstance(found, Mapping):
        raise fault(dataset, f"flipped_classes() returned {_kind(found)}", allowed=allowed)
    classes = range(len(dataset.classes()))
    wrong = [each for each in (*found, *found.values()) if each not in classes]
    if wrong:
        raise fault(dataset, f"flipped_classes() has {wrong[0]!r}, which is no class", allowed=allowed)
    return found


def _fingerprint(dataset: DatasetSpec, found: Any, args: Sequence[Any]) -> str:
    del args
    if not isinstance(found, str) or not found:
        raise fault(dataset, f"fingerprint() returned {_kind(found)}", allowed="a text")
    return found


def _whatever(part: Spec, found: Any, args: Sequence[Any]) -> Any:
    del part, args
    return found


def _reads(method: MethodSpec, found: Any, args: Sequence[Any]) -> FeatureRequest:
    del args
    if not isinstance(found, FeatureRequest):
        raise fault(method, f"reads() returned {_kind(found)}", allowed="a FeatureRequest")
    for field in ("tokens", "attention"):
        blocks: Any = getattr(found, field)
        if not isinstance(blocks, frozenset) or not all(isinstance(block, int) for block in blocks):
            found_text = f"reads() returned a FeatureRequest whose {field} are {blocks!r}"
            raise fault(method, found_text, allowed=f"{field}=frozenset({{0, 1}}): numbers of blocks")
    return found


def _output_dim(method: MethodSpec, found: Any, args: Sequence[Any]) -> int:
    del args
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise fault(method, f"output_dim() returned {found!r}", allowed="a whole number, 1 or more")
    return found


def _network(method: MethodSpec, found: Any, args: Sequence[Any]) -> Any:
    from side4video.plugins.network_guard import guard_network

    return guard_network(method, found, "build()", width=method.output_dim(args[0].shape) if args else None)


def _pair(method: MethodSpec, found: Any, args: Sequence[Any]) -> Any:
    del args
    from side4video.plugins.network_guard import guard_network

    return guard_network(method, found, "build_pair()", width=None)


def _kind(value: Any) -> str:
    """`a generator`, `None`, `a str`: what something is, for messages."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


_CHECKS: Mapping[str, tuple[type[Spec], Mapping[str, Check]]] = {
    "datasets": (
        DatasetSpec,
        {
            "classes": _classes,
            "clips": _clips,
            "splits": _splits,
            "flipped_classes": _flipped_classes,
            "fingerprint": _fingerprint,
            "check": _whatever,
            "prepare": _whatever,
        },
    ),
    "methods": (
        MethodSpec,
        {
            "reads": _reads,
            "frame_request": _reads,
            "output_dim": _output_dim,
            "build": _network,
            "build_pair": _pair,
        },
    ),
}
