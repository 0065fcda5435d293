//! Whether the fleet has room for a request, so that fairness need not wait.

use headworks_policy::Fleet;

/// What the fleet can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// A replica would run one more at once.
    Free,
    /// All have what they can run: what is let in now would wait there, where nobody is fair.
    Full,
    /// No replica takes work.
    Nobody,
}

impl Room {
    /// By what replicas hold back, or by how many requests each may have where that is said.
    pub fn of(fleet: &Fleet, outstanding_max: Option<u32>) -> Room {
        let mut room = Room::Nobody;
        for row in fleet.rows().filter(|row| fleet.takes_work(*row)) {
            let waiting = fleet.waiting()[row];
            let is_free = match outstanding_max {
                None => waiting == 0,
                Some(most) => u64::from(fleet.running()[row]) + u64::from(waiting) < u64::from(most),
            };
            if is_free {
                return Room::Free;
            }
            room = Room::Full;
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use headworks_policy::Replica;

    use super::*;

    #[track_caller]
    fn check(loads: &[(u32, u32)], outstanding_max: Option<u32>, expected: Room) {
        let replicas: Vec<Replica> = loads
            .iter()
            .map(|(running, waiting)| Replica { running: *running, waiting: *waiting, ..Replica::default() })
            .collect();
        assert_eq!(Room::of(&Fleet::of(&replicas, &[]), outstanding_max), expected);
    }

    #[test]
    fn a_replica_that_holds_nothing_back_has_room() {
        check(&[(9, 1), (90, 0)], None, Room::Free);
        check(&[(9, 1), (0, 1)], None, Room::Full);
    }

    #[test]
    fn or_one_that_has_fewer_than_it_may() {
        check(&[(9, 0), (3, 1)], Some(5), Room::Free);
        check(&[(9, 0), (4, 1)], Some(5), Room::Full);
    }

    #[test]
    fn without_one_that_takes_work_there_is_nobody() {
        check(&[], None, Room::Nobody);
        let leaving = [Replica { draining: true, ..Replica::default() }];
        assert_eq!(Room::of(&Fleet::of(&leaving, &[]), None), Room::Nobody);
    }
}
