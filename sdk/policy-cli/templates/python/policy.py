"""Sends each request to the replica with the least to do."""

from headworks_policy import Fleet, Placement, Policy, Request, export, telemetry


class {{Type}}(Policy):
    name = "{{name}}"
    version = "0.1.0"
    mode = "pooled"

    def place(self, request: Request, fleet: Fleet) -> Placement:
        takers = [row for row in fleet.rows() if fleet.takes_work(row)]
        if not takers:
            return Placement.PASS
        idlest = min(takers, key=lambda row: load(fleet, row))
        telemetry.explain(f"lowest load {load(fleet, idlest)}")
        return Placement.replica(fleet.id[idlest])


def load(fleet: Fleet, row: int) -> int:
    return fleet.running[row] + fleet.waiting[row]


export({{Type}})
