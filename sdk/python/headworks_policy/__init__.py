"""What the author of a policy imports: the contract's words, a mirror of the fleet, and one call."""

from .events import Ended, Event, Failed, FirstToken, ReplicaDown, ReplicaUp, Started, Usage
from .fleet import Fleet, Health, Regions
from .policy import Policy, Refusal, export
from .request import Hashes, Request
from .senses import buckets, chance, clock, log, prefix_index, reply, store, telemetry
from .verdict import Admission, Denial, Placement

__all__ = [
    "Admission",
    "Denial",
    "Ended",
    "Event",
    "Failed",
    "FirstToken",
    "Fleet",
    "Hashes",
    "Health",
    "Placement",
    "Policy",
    "Refusal",
    "Regions",
    "ReplicaDown",
    "ReplicaUp",
    "Request",
    "Started",
    "Usage",
    "buckets",
    "chance",
    "clock",
    "export",
    "log",
    "prefix_index",
    "reply",
    "store",
    "telemetry",
]
