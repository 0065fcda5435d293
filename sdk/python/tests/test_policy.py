"""What the SDK refuses, and what it makes up for tests."""

import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from headworks_policy import Fleet, Placement, Policy, Refusal, Request, buckets, telemetry  # noqa: E402
from headworks_policy import policy as door  # noqa: E402
from headworks_policy.instead import Printed, not_there  # noqa: E402


def kind(**fields):
    """A policy's class with these fields and methods."""
    return type("P", (Policy,), {"name": "p", "version": "1", "place": lambda *_: Placement.PASS, **fields})


class Policies(unittest.TestCase):
    def tearDown(self):
        door._exported = None

    def refused(self, part, **fields):
        with self.assertRaisesRegex(ValueError, part):
            door.export(kind(**fields))

    def test_the_hooks_are_those_that_are_overridden(self):
        whole = kind(configure=lambda *_: None, snapshot=lambda *_: "", restore=lambda *_: None)
        self.assertEqual(door.hooks_of(whole), ["configure", "place", "snapshot"])

    def test_what_could_only_fail_later_is_refused(self):
        self.refused("P.name must be", name="two words")
        self.refused("P.version must be", version="")
        self.refused("`pooled` or `single`, not 'solo'", mode="solo")
        self.refused("what `configure` is given; add that method", config_schema={"type": "object"})
        self.refused("go together", snapshot=lambda *_: "")
        with self.assertRaisesRegex(ValueError, "at least one of admit, place, observe"):
            door.export(type("P", (Policy,), {"name": "p", "version": "1"}))

    def test_a_component_is_one_policy(self):
        with self.assertRaisesRegex(ValueError, "must call `export"):
            door.exported()
        door.export(kind())
        with self.assertRaisesRegex(ValueError, "once"):
            door.export(kind())

    def test_a_refusal_names_its_field(self):
        self.assertEqual(str(Refusal("a.b", "must be 1")), "a.b: must be 1")


class Instead(unittest.TestCase):
    def test_whole_lines_are_written_once_there_is_somebody_to_hear_them(self):
        written = []
        printed = Printed(written.append)
        print("while it is built", file=printed)
        printed.is_running = True
        print("load", 3, file=printed)
        print("half", end="", file=printed)
        self.assertEqual(written, ["load 3"])
        print(" a line\nand another", file=printed)
        self.assertEqual(written, ["load 3", "half a line", "and another"])

    def test_time_says_what_to_use(self):
        with self.assertRaisesRegex(RuntimeError, "no time.monotonic.*clock.now_ms"):
            not_there("monotonic")()


class Facts(unittest.TestCase):
    def test_each_column_is_the_field_of_its_name(self):
        from headworks_policy.fleet import REGION, REPLICA

        replica = {name: place + 1 for place, name in enumerate(REPLICA)}
        region = {name: place + 1 for place, name in enumerate(REGION)}
        fleet = Fleet.of([replica], [region])
        self.assertEqual({name: getattr(fleet, name) for name in REPLICA}, {k: [v] for k, v in replica.items()})
        self.assertEqual({name: getattr(fleet.regions, name) for name in REGION}, {k: [v] for k, v in region.items()})

    def test_only_a_healthy_replica_that_stays_takes_work(self):
        fleet = Fleet.of([{}, {"health": 2}, {"health": 0}, {"draining": True}])
        self.assertEqual([row for row in fleet.rows() if fleet.takes_work(row)], [0])
        self.assertEqual((len(fleet), fleet.weight[0]), (4, 100))

    def test_a_made_up_request_answers_what_the_test_says(self):
        request = Request.of(model="m", session="s", prompt="hällo", headers={"x-a": "1"}, tokens=[1, 2])
        self.assertEqual((request.model, request.session, request.tenant, request.id), ("m", "s", "", 0))
        self.assertEqual((request.prompt_bytes, request.prompt(3, 2)), (6, b"ll"))
        self.assertEqual((request.header("x-a"), request.header("x-b")), ("1", None))
        self.assertEqual((request.header_names(), request.tokens()), (["x-a"], [1, 2]))
        request.note("heard by nobody")

    def test_a_misspelt_field_is_told(self):
        with self.assertRaisesRegex(ValueError, "no field `runing`; there are id, region, running"):
            Fleet.of([{"runing": 1}])
        with self.assertRaisesRegex(ValueError, "no `modle`; it has id, endpoint, model"):
            Request.of(modle="m")
        with self.assertRaisesRegex(AttributeError, "no column `runing`"):
            Fleet.of([]).runing

    def test_what_only_speaks_is_silent_and_the_rest_says_that_it_is_not_there(self):
        telemetry.explain("why")
        with self.assertRaisesRegex(RuntimeError, "buckets.count is there inside a component only"):
            buckets.count("turn")


if __name__ == "__main__":
    unittest.main()
