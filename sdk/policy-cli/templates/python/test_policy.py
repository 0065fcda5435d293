"""Unit tests of the deciding code, without a component: `headworks policy test --unit`."""

import unittest

from headworks_policy import Fleet, Placement, Request

from policy import {{Type}}


class Choices(unittest.TestCase):
    def test_the_least_loaded_is_taken(self) -> None:
        fleet = Fleet.of([{"id": 1, "running": 3}, {"id": 2, "running": 1}])
        self.assertEqual({{Type}}().place(Request.of(), fleet), Placement.replica(2))


if __name__ == "__main__":
    unittest.main()
