"""A mirror of the fleet: columns fetched when first looked at, and again only after the fleet changed."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence

from . import host

#: Each column of the replicas, in the contract's order, and what a made-up replica has there.
REPLICA = {
    "id": 0,
    "region": 0,
    "running": 0,
    "waiting": 0,
    "kv_blocks_used": 0,
    "kv_blocks_total": 0,
    "prefix_hit_permille": 0,
    "health": 1,
    "draining": 0,
    "role": 0,
    "age_ms": 0,
    "ttft_us": 0,
    "tpot_us": 0,
    "weight": 100,
    "prefill_tokens": 0,
}

REGION = {"id": 0, "local": 0, "available": 0, "queue": 0, "rtt_us": 0, "age_ms": 0}


class Health:
    """The values of the column `health`."""

    UNKNOWN = 0
    HEALTHY = 1
    UNHEALTHY = 2


class Regions:
    """The regions, one column per field."""

    #: Names a region for as long as the proxy lives.
    id: List[int]
    #: 1 for this proxy's own region.
    local: List[int]
    #: Replicas there that could take a request now.
    available: List[int]
    #: Requests queued there.
    queue: List[int]
    #: Round trip to it; 0 for the local region.
    rtt_us: List[int]
    #: Age of the reading.
    age_ms: List[int]

    def __getattr__(self, name: str) -> List[int]:
        if name not in REGION:
            raise AttributeError(f"the regions have no column `{name}`; there are {', '.join(REGION)}")
        column: List[int] = host.regions.column(host.regions.Field[name.upper()])
        setattr(self, name, column)
        return column


class Fleet:
    """The replicas, one column per field; row `i` of each is the same replica."""

    #: Names a replica for as long as the proxy lives.
    id: List[int]
    #: The region it stands in.
    region: List[int]
    #: Requests in its running batch, those just sent included.
    running: List[int]
    #: Requests it holds back.
    waiting: List[int]
    kv_blocks_used: List[int]
    #: 0 when it does not say.
    kv_blocks_total: List[int]
    #: Prompt tokens answered from its prefix cache, in thousandths.
    prefix_hit_permille: List[int]
    #: A value of `Health`.
    health: List[int]
    #: 1 while it finishes what it has and takes nothing new.
    draining: List[int]
    #: 0 prefill and decode, 1 prefill only, 2 decode only.
    role: List[int]
    #: Age of the reading.
    age_ms: List[int]
    #: Observed time to first token; 0 before the first.
    ttft_us: List[int]
    #: Observed time per output token; 0 before the first.
    tpot_us: List[int]
    #: Relative capacity; 100 is ordinary.
    weight: List[int]
    #: Estimated prompt tokens of the requests sent there whose first token is still to come.
    prefill_tokens: List[int]
    regions: Regions

    def __init__(self) -> None:
        self.regions = Regions()
        self._version: Optional[int] = None
        # The columns that this policy looks at, fetched in one call once the fleet has changed.
        self._wanted: set = set()
        # What to ask for when these columns are missing: making it costs more than the call.
        self._fields: Dict[tuple, Any] = {}

    @staticmethod
    def of(replicas: Sequence[Mapping[str, Any]], regions: Sequence[Mapping[str, Any]] = ()) -> Fleet:
        """A fleet for a test. What a replica leaves out is that of a healthy, idle one of ordinary weight."""
        fleet = Fleet()
        vars(fleet).update(_columns_of(REPLICA, replicas))
        vars(fleet.regions).update(_columns_of(REGION, regions))
        return fleet

    def __len__(self) -> int:
        return len(self.id)

    def rows(self) -> range:
        """All rows."""
        return range(len(self.id))

    def takes_work(self, row: int) -> bool:
        """Whether the replica in `row` may be given a new request: healthy and not draining."""
        return self.health[row] == Health.HEALTHY and self.draining[row] == 0

    def refresh(self) -> Fleet:
        """Forgets every column when the host's fleet has changed. Called before each hook."""
        version = host.fleet.version()
        if version != self._version:
            self._version = version
            for name in self._wanted:
                vars(self).pop(name, None)
            self.regions = Regions()
        return self

    def __getattr__(self, name: str) -> List[int]:
        """A column that is not there yet: fetched with all others that were ever looked at, in one call."""
        if name not in REPLICA:
            raise AttributeError(f"the fleet has no column `{name}`; there are {', '.join(REPLICA)}")
        self._wanted.add(name)
        missing = tuple(key for key in REPLICA if key in self._wanted and key not in vars(self))
        if missing not in self._fields:
            fields = host.fleet.Fields(0)
            for key in missing:
                fields |= host.fleet.Fields[key.upper()]
            self._fields[missing] = fields
        joined = host.fleet.columns(self._fields[missing])
        rows = len(joined) // len(missing)
        for place, key in enumerate(missing):
            setattr(self, key, joined[place * rows : (place + 1) * rows])
        column: List[int] = vars(self)[name]
        return column


def _columns_of(fields: Dict[str, int], rows: Sequence[Mapping[str, Any]]) -> Dict[str, List[int]]:
    for row in rows:
        unknown = [key for key in row if key not in fields]
        if unknown:
            raise ValueError(f"there is no field `{unknown[0]}`; there are {', '.join(fields)}")
    return {name: [int(row.get(name, ordinary)) for row in rows] for name, ordinary in fields.items()}
