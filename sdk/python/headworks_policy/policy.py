"""Who a policy is and which hooks it means, and the refusal of what could only fail later."""

from __future__ import annotations

import re
from typing import Any, List, Optional, Type, Union

from .events import Event
from .fleet import Fleet
from .request import Request
from .verdict import Admission, Placement

#: The hooks, in the contract's order. `snapshot` comes with `restore`.
HOOKS = ("configure", "admit", "place", "observe", "snapshot")
#: Of these a policy has at least one.
ASKED = ("admit", "place", "observe")

_WORD = re.compile(r"[A-Za-z0-9._+-]{1,64}")
_exported: Optional[Policy] = None


class Refusal(Exception):
    """A configuration that the policy does not take. Raise it in `configure`."""

    def __init__(self, field: str, message: str) -> None:
        """The field at fault, as a path such as `tenants.acme.limit` (empty when it is none), and what to change."""
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.message = message


class Policy:
    """A policy: who it is, and the hooks that it overrides. It has those and no others."""

    #: Its own name: letters, digits, `-`, `_`, `.`, `+`.
    name: str
    #: Its own version.
    version: str
    #: `pooled` keeps nothing between calls; `single` does, and has `snapshot` and `restore`.
    mode: str = "pooled"
    #: JSON Schema of its configuration, as a dict or as text.
    config_schema: Union[None, str, dict] = None

    def configure(self, config: Any) -> None:
        """Called before any other hook on every new instance, with `{}` when the operator gave nothing."""
        raise NotImplementedError

    def admit(self, request: Request, fleet: Fleet) -> Admission:
        """Called once per request, before any queue."""
        raise NotImplementedError

    def place(self, request: Request, fleet: Fleet) -> Placement:
        """Called when a request needs a target, and again for a held request when the fleet changes."""
        raise NotImplementedError

    def observe(self, events: List[Event], fleet: Fleet) -> None:
        """Called in batches, off the data path."""
        raise NotImplementedError

    def snapshot(self) -> Union[str, bytes]:
        """The state, in a form whose version the policy can tell."""
        raise NotImplementedError

    def restore(self, state: bytes) -> None:
        """Takes over a predecessor's state. An exception means: starts empty."""
        raise NotImplementedError


def hooks_of(kind: Type[Policy]) -> List[str]:
    """The hooks that a policy overrides."""
    return [hook for hook in HOOKS if _overrides(kind, hook)]


def export(kind: Type[Policy]) -> None:
    """Makes a class the component's policy. Once per component."""
    global _exported
    if _exported is not None:
        raise ValueError("export is called once: a component is one policy")
    _check(kind)
    _exported = kind()


def exported() -> Policy:
    """The component's policy. Not for policies."""
    if _exported is None:
        raise ValueError("the module must call `export(YourPolicy)`")
    return _exported


def _check(kind: Type[Policy]) -> None:
    for field in ("name", "version"):
        if not _WORD.fullmatch(str(getattr(kind, field, ""))):
            raise ValueError(f"{kind.__name__}.{field} must be 1 to 64 letters, digits, `-`, `_`, `.` or `+`")
    if kind.mode not in ("pooled", "single"):
        raise ValueError(f"{kind.__name__}.mode must be `pooled` or `single`, not {kind.mode!r}")
    if not any(hook in ASKED for hook in hooks_of(kind)):
        raise ValueError(f"{kind.__name__} must have at least one of {', '.join(ASKED)}")
    if kind.config_schema and not _overrides(kind, "configure"):
        raise ValueError(
            f"{kind.__name__}.config_schema says what `configure` is given; add that method, or remove the schema"
        )
    if _overrides(kind, "snapshot") != _overrides(kind, "restore"):
        raise ValueError(f"{kind.__name__}: `snapshot` and `restore` go together")


def _overrides(kind: Type[Policy], verb: str) -> bool:
    return getattr(kind, verb) is not getattr(Policy, verb)
