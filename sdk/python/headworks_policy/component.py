"""Makes a component's interfaces of a policy. What `headworks policy build` generates imports this; not for policies."""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any, Callable, Dict, List

from componentize_py_types import Err  # type: ignore[import-not-found]

from . import events, host, instead
from .fleet import Fleet
from .policy import Refusal, exported, hooks_of
from .request import Request
from .senses import log
from .verdict import Admission, Placement

#: The contract that this SDK speaks.
CONTRACT = "headworks:policy@0.1.0"

_policy = exported()
_printed = instead.replace(log.info)
_hooks = hooks_of(type(_policy))
_fleet = Fleet()

#: The contract's words of each interface that the component exports.
_words: Dict[str, Any] = {
    name: importlib.import_module(f"wit_world.exports.{name}") for name in ("describe", *_hooks) if name != "snapshot"
}


def describe() -> Any:
    """The policy's description, in the contract's words."""
    words, schema = _words["describe"], _policy.config_schema
    return words.Description(
        name=_policy.name,
        version=_policy.version,
        contract=CONTRACT,
        hooks=[words.Hook[hook.upper()] for hook in _hooks],
        mode=words.Mode[_policy.mode.upper()],
        config_schema=json.dumps(schema) if isinstance(schema, dict) else schema or "",
    )


def configure(text: str) -> None:
    """Hands over the configuration; a refusal is an answer."""
    try:
        _spoken(_policy.configure, json.loads(text))
    except Refusal as refusal:
        raise Err(_words["configure"].Refusal(refusal.field, refusal.message)) from None


def admit(lent: Any) -> Any:
    """Asks the policy, and answers in the contract's words."""
    words = _words["admit"]
    admission = _spoken(_policy.admit, Request(lent), _fleet.refresh())
    if not isinstance(admission, Admission):
        raise _spoken(_wrong_answer, "admit", "an Admission", admission)
    if admission.kind == "deny":
        return words.Admission_Deny(_denial(admission.denial))
    return words.Admission_Allow() if admission.kind == "allow" else words.Admission_Pass()


def place(lent: Any) -> Any:
    """Asks the policy, and answers in the contract's words."""
    words = _words["place"]
    placement = _spoken(_policy.place, Request(lent), _fleet.refresh())
    if not isinstance(placement, Placement):
        raise _spoken(_wrong_answer, "place", "a Placement", placement)
    if placement.kind == "replica":
        return words.Placement_Replica(placement.target)
    if placement.kind == "region":
        return words.Placement_Region(placement.target)
    if placement.kind == "reject":
        return words.Placement_Reject(_denial(placement.denial))
    return words.Placement_Hold() if placement.kind == "hold" else words.Placement_Pass()


def observe(lent: List[Any]) -> None:
    """Tells the policy what happened."""
    _spoken(_policy.observe, [_event(event) for event in lent], _fleet.refresh())


def snapshot() -> bytes:
    """The policy's state."""
    state = _spoken(_policy.snapshot)
    return state.encode() if isinstance(state, str) else state


def restore(state: bytes) -> None:
    """A state that the policy cannot take is a refusal in words, never a trap: the policy starts empty."""
    try:
        _policy.restore(state)
    except Exception as error:
        raise Err(str(error) or type(error).__name__) from None


def _spoken(hook: Callable[..., Any], *words: Any) -> Any:
    """An exception's message goes to the host's log, which shows it with the trap."""
    _printed.is_running = True
    try:
        return hook(*words)
    except Refusal:
        raise
    except Exception as error:
        log.error(_last_words(error))
        raise


def _last_words(error: BaseException) -> str:
    """The exception, and the author's innermost line."""
    # Not by the module traceback, which looks for the source's files: there are none.
    trace, innermost = error.__traceback__, None
    own = None
    while trace is not None:
        innermost = trace
        if _is_authors(trace.tb_frame.f_globals.get("__name__", "")):
            own = trace
        trace = trace.tb_next
    shown = own or innermost
    if shown is None:
        return f"{type(error).__name__}: {error}"
    code = shown.tb_frame.f_code
    file = code.co_filename.rsplit("/", 1)[-1]
    return f"{type(error).__name__}: {error} ({file}:{shown.tb_lineno} in {code.co_name})"


def _is_authors(module: str) -> bool:
    """Whether a module is neither the SDK's nor the language's own."""
    package = module.partition(".")[0]
    return package not in ("headworks_policy", "headworks_component") and package not in sys.stdlib_module_names


def _wrong_answer(hook: str, wanted: str, answer: Any) -> None:
    raise TypeError(f"{hook} must answer {wanted}, not {answer!r}")


def _denial(denial: Any) -> Any:
    return host.types.Denial(status=denial.status, retry_after_ms=denial.retry_after_ms, message=denial.message)


def _event(event: Any) -> Any:
    """An event with its subject's fields beside its own."""
    kind, value = type(event).__name__.rsplit("_", 1)[-1], event.value
    if kind in ("ReplicaUp", "ReplicaDown"):
        return getattr(events, kind)(value)
    words: Dict[str, Any] = {**vars(value.subject), **vars(value)}
    del words["subject"]
    for word in ("why", "outcome"):
        if word in words:
            words[word] = words[word].name.lower()
    if "usage" in words:
        words["usage"] = events.Usage(**vars(words["usage"]))
    return getattr(events, kind)(**words)
