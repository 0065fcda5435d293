"""What the host lends besides the request and the fleet.

Silent in a test where it only speaks; elsewhere it is there inside a component only, so hand it to the deciding code as
an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Tuple, Union

from . import host
from .request import Hashes, Request


@dataclass(frozen=True)
class Taking:
    """What taking from a bucket came to."""

    taken: bool
    #: What is left after taking.
    left: int = 0
    #: How long until there is enough; infinite when the bucket can never give so much.
    wait_ms: float = 0


class buckets:
    """Token buckets, places and counters by name: exact across instances and swaps. Raises when there is no room."""

    @staticmethod
    def take(name: str, tokens: int, *, tokens_max: int, tokens_per_minute: int) -> Taking:
        """Takes all of `tokens` or nothing, from a bucket of that shape."""
        shape = host.buckets.Shape(tokens_max, tokens_per_minute)
        taking = _asked("take", name, lambda: host.buckets.take(name, shape, tokens))
        if isinstance(taking, host.buckets.Taking_Taken):
            return Taking(True, left=taking.value)
        if isinstance(taking, host.buckets.Taking_WaitMs):
            return Taking(False, wait_ms=taking.value)
        return Taking(False, wait_ms=float("inf"))

    @staticmethod
    def give_back(name: str, tokens: int) -> None:
        """Gives back what was taken too much."""
        host.buckets.give_back(name, tokens)

    @staticmethod
    def charge(name: str, tokens: int) -> None:
        """Takes what a request cost beyond what was taken for it, though it is not there."""
        host.buckets.charge(name, tokens)

    @staticmethod
    def level(name: str) -> Optional[int]:
        """What is in a bucket now, if it was ever taken from."""
        return host.buckets.level(name)

    @staticmethod
    def hold(name: str, places: int) -> bool:
        """Takes one of `places` until the request ends; false when all are taken."""
        return _asked("hold", name, lambda: host.buckets.hold(name, places))

    @staticmethod
    def held(name: str) -> int:
        """Places by this name that are taken."""
        return host.buckets.held(name)

    @staticmethod
    def count(name: str, delta: int = 1) -> int:
        """Adds to a counter and returns what it was before."""
        return _asked("count", name, lambda: host.buckets.count(name, delta))


class store:
    """Small values by name, kept by the host. Raises when there is no room."""

    @staticmethod
    def get(key: str) -> Optional[Tuple[bytes, int]]:
        """The value and its version."""
        entry = host.store.get(key)
        return None if entry is None else (entry.value, entry.version)

    @staticmethod
    def set(key: str, value: Union[str, bytes]) -> int:
        """Writes whatever is there; the new version."""
        return _asked("set", key, lambda: host.store.set(key, _bytes_of(value)))

    @staticmethod
    def compare_and_set(key: str, expected: int, value: Union[str, bytes]) -> Optional[int]:
        """Writes only over `expected` (0: nothing there yet); the new version, or none when someone wrote first."""
        try:
            return host.store.compare_and_set(key, expected, _bytes_of(value))
        except Exception as error:
            if isinstance(getattr(error, "value", None), host.store.Refusal_Conflict):
                return None
            raise _refused("compare_and_set", key, error) from error

    @staticmethod
    def remove(key: str) -> bool:
        """Removes a key; true when it was there."""
        return host.store.remove(key)


class prefix_index:
    """Who has seen which prefix: kept by the host, shared by instances, untouched by traps and swaps."""

    @staticmethod
    def match_replicas(request: Request) -> List[Tuple[int, int]]:
        """Who holds at least one block of the prompt, and how many leading blocks."""
        found = host.prefix_index.match_replicas(request.handle)
        return list(zip(found.replica, found.blocks))

    @staticmethod
    def match_regions(request: Request) -> List[Tuple[int, int]]:
        """The same for regions."""
        found = host.prefix_index.match_regions(request.handle)
        return list(zip(found.region, found.blocks))

    @staticmethod
    def insert(request: Request, *, replica: Optional[int] = None, region: Optional[int] = None) -> None:
        """Remembers that a replica or a region has seen the prompt."""
        host.prefix_index.insert(_holder(replica, region), request.handle)

    @staticmethod
    def match_replicas_of(prefix: Hashes) -> List[Tuple[int, int]]:
        """`match_replicas` for hashes that the policy made or kept itself."""
        found = host.prefix_index.match_replicas_of(_hashes(prefix))
        return list(zip(found.replica, found.blocks))

    @staticmethod
    def match_regions_of(prefix: Hashes) -> List[Tuple[int, int]]:
        """`match_regions` for hashes that the policy made or kept itself."""
        found = host.prefix_index.match_regions_of(_hashes(prefix))
        return list(zip(found.region, found.blocks))

    @staticmethod
    def insert_hashes(prefix: Hashes, *, replica: Optional[int] = None, region: Optional[int] = None) -> None:
        """`insert` for hashes that the policy made or kept itself."""
        host.prefix_index.insert_hashes(_holder(replica, region), _hashes(prefix))

    @staticmethod
    def evict(*, replica: Optional[int] = None, region: Optional[int] = None) -> None:
        """Forgets everything about a holder, e.g. when it restarted."""
        host.prefix_index.evict(_holder(replica, region))

    @staticmethod
    def sizes() -> Any:
        """`blocks`, `blocks_max` and `evicted`."""
        return host.prefix_index.sizes()


class chance:
    """Chance that replays. Python's `random` does not: it is the same in every instance."""

    @staticmethod
    def next_u32() -> int:
        """Any 32 bits."""
        return host.chance.next_u32()

    @staticmethod
    def next_u64() -> int:
        """Any 64 bits."""
        return host.chance.next_u64()

    @staticmethod
    def below(bound: int) -> int:
        """Evenly from 0 to `bound` - 1; 0 when `bound` is 0."""
        return host.chance.below(bound)


class clock:
    """Time. Python's `time` is not there."""

    @staticmethod
    def now_ms() -> int:
        """Monotonic milliseconds; the same throughout one call."""
        return host.clock.now_ms()


class log:
    """Lines for the operator; long ones are cut, those of one call are bounded."""

    @staticmethod
    def debug(line: str) -> None:
        """For an author at work."""
        _log("DEBUG", line)

    @staticmethod
    def info(line: str) -> None:
        """What an operator may want to know."""
        _log("INFO", line)

    @staticmethod
    def warn(line: str) -> None:
        """What an operator should look at."""
        _log("WARN", line)

    @staticmethod
    def error(line: str) -> None:
        """What is wrong."""
        _log("ERROR", line)


class telemetry:
    """What a policy shows of itself. Names are lower-case letters, digits and `_`."""

    @staticmethod
    def count(name: str, delta: int = 1) -> None:
        """Adds to a counter."""
        host.telemetry.count(name, delta)

    @staticmethod
    def gauge(name: str, value: float) -> None:
        """Sets a gauge."""
        host.telemetry.gauge(name, float(value))

    @staticmethod
    def attribute(name: str, value: object) -> None:
        """Attaches an attribute to the trace's span of this call."""
        host.telemetry.attribute(name, str(value))

    @staticmethod
    def explain(reason: str) -> None:
        """Says why, in one sentence, shown beside the decision. The last one counts."""
        host.telemetry.explain(reason)


class reply:
    """What the client's answer carries besides."""

    @staticmethod
    def header(name: str, value: object) -> None:
        """Sets a header of the answer. Names begin with `x-`."""
        host.reply.header(name, str(value))


def _log(level: str, line: str) -> None:
    levels = getattr(host.log, "Level", None)
    host.log.log(levels[level] if isinstance(levels, type) else level, line)


def _asked(verb: str, name: str, call: Callable[[], Any]) -> Any:
    """Turns the contract's refusal into an error that says which call and which name."""
    try:
        return call()
    except Exception as error:
        raise _refused(verb, name, error) from error


def _refused(verb: str, name: str, error: Exception) -> Exception:
    if not hasattr(error, "value"):
        return error
    reason = getattr(error.value, "name", type(error.value).__name__.rsplit("_", 1)[-1])
    return RuntimeError(f"{verb} {name!r} was refused: {reason.lower().replace('_', ' ')}")


def _bytes_of(value: Union[str, bytes]) -> bytes:
    return value.encode() if isinstance(value, str) else value


def _holder(replica: Optional[int], region: Optional[int]) -> Any:
    if (replica is None) == (region is None):
        raise TypeError("name either `replica` or `region`")
    return host.types.Holder_Region(region) if replica is None else host.types.Holder_Replica(replica)


def _hashes(prefix: Hashes) -> Any:
    from wit_world.imports.request import Hashes as Lent  # type: ignore[import-not-found]

    return Lent(prefix.low, prefix.high)
