"""The answers of the deciding hooks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Optional


@dataclass(frozen=True)
class Denial:
    """Why and how a request is turned away."""

    #: HTTP status, 400 to 599.
    status: int
    #: For the client: what to change or when to come back.
    message: str
    #: When to try again.
    retry_after_ms: Optional[int] = None


@dataclass(frozen=True)
class Placement:
    """Where a request goes."""

    kind: str
    target: Optional[int] = None
    denial: Optional[Denial] = None

    #: Wait until the fleet changes, then ask again.
    HOLD: ClassVar[Placement]
    #: No opinion; the next policy is asked.
    PASS: ClassVar[Placement]

    @staticmethod
    def replica(replica_id: int) -> Placement:
        """Send it to this replica."""
        return Placement("replica", target=replica_id)

    @staticmethod
    def region(region_id: int) -> Placement:
        """Hand it to the proxy of this region."""
        return Placement("region", target=region_id)

    @staticmethod
    def reject(denial: Denial) -> Placement:
        """Turn it away."""
        return Placement("reject", denial=denial)


@dataclass(frozen=True)
class Admission:
    """Whether a request may enter."""

    kind: str
    denial: Optional[Denial] = None

    #: Let it in; no later policy is asked.
    ALLOW: ClassVar[Admission]
    #: No opinion; the next policy is asked.
    PASS: ClassVar[Admission]

    @staticmethod
    def deny(denial: Denial) -> Admission:
        """Turn it away."""
        return Admission("deny", denial=denial)


Placement.HOLD = Placement("hold")
Placement.PASS = Placement("pass")
Admission.ALLOW = Admission("allow")
Admission.PASS = Admission("pass")
