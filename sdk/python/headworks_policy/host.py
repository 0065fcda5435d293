"""The host: the contract's imports inside a component; in a test, where there is none, a sentence that says so."""

from __future__ import annotations

from typing import Any


class Absent:
    """Stands for one interface in a test. What only speaks is silent."""

    def __init__(self, name: str, silent: bool = False) -> None:
        self._name = name
        self._silent = silent

    def __getattr__(self, verb: str) -> Any:
        if verb.startswith("__"):
            raise AttributeError(verb)

        def call(*_words: object) -> None:
            if not self._silent:
                raise RuntimeError(
                    f"{self._name}.{verb} is there inside a component only; in a test hand it to the deciding code as "
                    "an argument"
                )

        return call


fleet: Any
regions: Any
buckets: Any
chance: Any
clock: Any
log: Any
prefix_index: Any
reply: Any
store: Any
telemetry: Any
types: Any

try:
    from wit_world.imports import (  # type: ignore[import-not-found]
        buckets,
        chance,
        clock,
        fleet,
        log,
        prefix_index,
        regions,
        reply,
        store,
        telemetry,
        types,
    )
except ImportError:
    fleet, regions = Absent("fleet"), Absent("regions")
    buckets, chance, clock = Absent("buckets"), Absent("chance"), Absent("clock")
    prefix_index, store, types = Absent("prefix_index"), Absent("store"), Absent("types")
    log, reply, telemetry = Absent("log", silent=True), Absent("reply", silent=True), Absent("telemetry", silent=True)
