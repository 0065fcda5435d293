"""Sends a request where the least is to do, for the replica's weight: of two at random, or of all."""

from typing import Any, List

from headworks_policy import Fleet, Placement, Policy, Refusal, Request, chance, export, telemetry

SCANS = ("two", "all")


class LeastLoad(Policy):
    name = "least-load-py"
    version = "0.1.0"
    config_schema = {
        "type": "object",
        "properties": {"scan": {"type": "string", "enum": list(SCANS), "default": "two", "title": "How many to compare"}},
        "additionalProperties": False,
    }

    def __init__(self) -> None:
        self.scan = "two"

    def configure(self, config: Any) -> None:
        scan = config.get("scan", "two")
        if scan not in SCANS:
            raise Refusal("scan", f"must be one of {', '.join(SCANS)}")
        self.scan = scan

    def place(self, request: Request, fleet: Fleet) -> Placement:
        takers = [row for row in fleet.rows() if fleet.takes_work(row)]
        if not takers:
            return Placement.PASS
        compared = takers if self.scan == "all" or len(takers) <= 2 else two_of(takers, chance.below)
        best = min(compared, key=lambda row: load(fleet, row))
        telemetry.explain(f"lowest load {fleet.running[best] + fleet.waiting[best]} of {len(compared)}")
        return Placement.replica(fleet.id[best])


def load(fleet: Fleet, row: int) -> float:
    """Requests for each unit of capacity."""
    return (fleet.running[row] + fleet.waiting[row]) / max(fleet.weight[row], 1)


def two_of(takers: List[int], below: Any) -> List[int]:
    """Two different ones at random."""
    first = below(len(takers))
    second = below(len(takers) - 1)
    return [takers[first], takers[second + 1 if second >= first else second]]


export(LeastLoad)
