"""What the observe hook hears."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Union


@dataclass(frozen=True)
class Usage:
    """The tokens that one request cost."""

    prompt_tokens: int
    cached_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Subject:
    """Which request an event is about."""

    request: int
    tenant: str
    model: str
    #: What this slot's policy noted about it; empty when it noted nothing.
    note: bytes


@dataclass(frozen=True)
class Started(Subject):
    """The request was sent to a replica."""

    replica: int


@dataclass(frozen=True)
class FirstToken(Subject):
    """Its first token came."""

    replica: int
    #: Since it was sent.
    ttft_us: int


@dataclass(frozen=True)
class Failed(Subject):
    """A try of the request failed; another may follow."""

    replica: int
    #: `replica`, `cancelled` or `refused`.
    why: str


@dataclass(frozen=True)
class Ended(Subject):
    """The request's end: once for each request that policies were asked about."""

    #: Where it ran last; none when it was never sent.
    replica: Optional[int]
    #: `finished`, `failed`, `cancelled` or `refused`.
    outcome: str
    usage: Usage


@dataclass(frozen=True)
class ReplicaUp:
    """A replica came."""

    replica: int


@dataclass(frozen=True)
class ReplicaDown:
    """A replica went."""

    replica: int


Event = Union[Started, FirstToken, Failed, Ended, ReplicaUp, ReplicaDown]
