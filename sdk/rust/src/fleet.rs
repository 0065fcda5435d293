//! A mirror of the fleet: a column is fetched when first looked at. After the fleet changed, all that this instance ever
//! looked at come in one call, which costs less than a call for each.

use std::{
    cell::{Cell, OnceCell},
    ops::Range,
};

use crate::bindings::senses::headworks::policy::{fleet as wit, regions as wit_regions};

/// The replicas, one column per field; row `i` of each is the same replica.
#[derive(Debug, Default)]
pub struct Fleet {
    version: Option<u64>,
    /// The columns that came in one call.
    together: Together,
    /// Those that were looked at for the first time since.
    single: [OnceCell<Vec<u32>>; FIELDS],
    /// All that were ever looked at, as a set of bits.
    wanted: Cell<u16>,
    takers: OnceCell<Vec<usize>>,
    regions: Regions,
}

const FIELDS: usize = 15;

/// Some columns, one after another in the order of their fields.
#[derive(Debug, Default)]
struct Together {
    /// Which, as a set of bits.
    fields: u16,
    columns: Vec<u32>,
    rows: usize,
}

/// The regions, one column per field.
#[derive(Debug, Default)]
pub struct Regions {
    columns: [OnceCell<Vec<u32>>; 6],
}

/// One replica, for a test. `Default` is a healthy, idle one of ordinary weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented at the column of its name")]
pub struct Replica {
    pub id: u32,
    pub region: u32,
    pub running: u32,
    pub waiting: u32,
    pub kv_blocks_used: u32,
    pub kv_blocks_total: u32,
    pub prefix_hit_permille: u32,
    pub health: Health,
    pub draining: bool,
    pub role: u32,
    pub age_ms: u32,
    pub ttft_us: u32,
    pub tpot_us: u32,
    pub weight: u32,
    pub prefill_tokens: u32,
}

/// One region, for a test.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "each field is documented at the column of its name")]
pub struct Region {
    pub id: u32,
    pub local: bool,
    pub available: u32,
    pub queue: u32,
    pub rtt_us: u32,
    pub age_ms: u32,
}

/// Whether a replica may be given work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// No check has answered yet.
    Unknown = 0,
    /// The last check was good.
    #[default]
    Healthy = 1,
    /// The last checks failed, or requests to it did.
    Unhealthy = 2,
}

/// A method per column.
macro_rules! columns {
    ($($(#[$doc:meta])* $name:ident = $field:path;)+) => {
        $($(#[$doc])* pub fn $name(&self) -> &[u32] { self.column($field) })+
    };
}

impl Fleet {
    /// A fleet for a test.
    pub fn of(replicas: &[Replica], regions: &[Region]) -> Fleet {
        let column = |field: fn(&Replica) -> u32| OnceCell::from(replicas.iter().map(field).collect::<Vec<u32>>());
        Fleet {
            regions: Regions::of(regions),
            single: [
                column(|replica| replica.id),
                column(|replica| replica.region),
                column(|replica| replica.running),
                column(|replica| replica.waiting),
                column(|replica| replica.kv_blocks_used),
                column(|replica| replica.kv_blocks_total),
                column(|replica| replica.prefix_hit_permille),
                column(|replica| replica.health as u32),
                column(|replica| u32::from(replica.draining)),
                column(|replica| replica.role),
                column(|replica| replica.age_ms),
                column(|replica| replica.ttft_us),
                column(|replica| replica.tpot_us),
                column(|replica| replica.weight),
                column(|replica| replica.prefill_tokens),
            ],
            ..Fleet::default()
        }
    }

    columns! {
        /// Names a replica for as long as the proxy lives.
        id = wit::Field::Id;
        /// The region it stands in.
        region = wit::Field::Region;
        /// Requests in its running batch, those just sent included.
        running = wit::Field::Running;
        /// Requests it holds back.
        waiting = wit::Field::Waiting;
        /// KV blocks in use.
        kv_blocks_used = wit::Field::KvBlocksUsed;
        /// KV blocks it has; 0 when it does not say.
        kv_blocks_total = wit::Field::KvBlocksTotal;
        /// Prompt tokens answered from its prefix cache, in thousandths.
        prefix_hit_permille = wit::Field::PrefixHitPermille;
        /// [`Health`] as its number.
        health = wit::Field::Health;
        /// 1 while it finishes what it has and takes nothing new.
        draining = wit::Field::Draining;
        /// 0 prefill and decode, 1 prefill only, 2 decode only.
        role = wit::Field::Role;
        /// Age of the reading.
        age_ms = wit::Field::AgeMs;
        /// Observed time to first token; 0 before the first.
        ttft_us = wit::Field::TtftUs;
        /// Observed time per output token; 0 before the first.
        tpot_us = wit::Field::TpotUs;
        /// Relative capacity; 100 is ordinary.
        weight = wit::Field::Weight;
        /// Estimated prompt tokens of the requests sent there whose first token is still to come.
        prefill_tokens = wit::Field::PrefillTokens;
    }

    /// The regions.
    pub fn regions(&self) -> &Regions {
        &self.regions
    }

    /// How many replicas there are.
    pub fn len(&self) -> usize {
        self.id().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.id().is_empty()
    }

    /// All rows.
    pub fn rows(&self) -> Range<usize> {
        0..self.len()
    }

    /// Whether the replica in `row` may be given a new request: healthy and not draining.
    pub fn takes_work(&self, row: usize) -> bool {
        self.health()[row] == Health::Healthy as u32 && self.draining()[row] == 0
    }

    /// The rows of the replicas that may be given a new request, in order. Found once for each version of the fleet.
    pub fn takers(&self) -> &[usize] {
        self.takers.get_or_init(|| {
            let (health, draining) = (self.health(), self.draining());
            // Room for all at once: a list that grows is moved again and again.
            let mut takers = Vec::with_capacity(health.len());
            for (row, (health, draining)) in health.iter().zip(draining).enumerate() {
                if *health == Health::Healthy as u32 && *draining == 0 {
                    takers.push(row);
                }
            }
            takers
        })
    }

    /// Fetches anew what was looked at before, when the host's fleet has changed.
    pub(crate) fn refresh(&mut self) {
        let version = Some(wit::version());
        if self.version == version {
            return;
        }
        self.version = version;
        let fields = self.wanted.get();
        for single in &mut self.single {
            single.take();
        }
        self.takers.take();
        self.regions = Regions::default();
        self.together = match fields {
            0 => Together::default(),
            _ => Together::of(fields, wit::columns(wit::Fields::from_bits_retain(fields))),
        };
    }

    fn column(&self, field: wit::Field) -> &[u32] {
        if let Some(column) = self.together.column(bit(field)) {
            return column;
        }
        self.single[field as usize].get_or_init(|| {
            self.wanted.set(self.wanted.get() | bit(field));
            wit::column(field)
        })
    }
}

impl Together {
    fn of(fields: u16, columns: Vec<u32>) -> Together {
        let rows = columns.len() / fields.count_ones() as usize;
        Together { fields, columns, rows }
    }

    fn column(&self, bit: u16) -> Option<&[u32]> {
        if self.fields & bit == 0 {
            return None;
        }
        let before = self.fields & (bit - 1);
        let start = before.count_ones() as usize * self.rows;
        Some(&self.columns[start..start + self.rows])
    }
}

/// This field's place in a set of fields, which the contract lists in the same order.
fn bit(field: wit::Field) -> u16 {
    1 << field as u8
}

impl Regions {
    columns! {
        /// Names a region for as long as the proxy lives.
        id = wit_regions::Field::Id;
        /// 1 for this proxy's own region.
        local = wit_regions::Field::Local;
        /// Replicas there that could take a request now.
        available = wit_regions::Field::Available;
        /// Requests queued there.
        queue = wit_regions::Field::Queue;
        /// Round trip to it; 0 for the local region.
        rtt_us = wit_regions::Field::RttUs;
        /// Age of the reading.
        age_ms = wit_regions::Field::AgeMs;
    }

    fn of(regions: &[Region]) -> Regions {
        let column = |field: fn(&Region) -> u32| OnceCell::from(regions.iter().map(field).collect::<Vec<u32>>());
        Regions {
            columns: [
                column(|region| region.id),
                column(|region| u32::from(region.local)),
                column(|region| region.available),
                column(|region| region.queue),
                column(|region| region.rtt_us),
                column(|region| region.age_ms),
            ],
        }
    }

    fn column(&self, field: wit_regions::Field) -> &[u32] {
        self.columns[field as usize].get_or_init(|| wit_regions::column(field))
    }
}

impl Default for Replica {
    fn default() -> Replica {
        Replica {
            id: 0,
            region: 0,
            running: 0,
            waiting: 0,
            kv_blocks_used: 0,
            kv_blocks_total: 0,
            prefix_hit_permille: 0,
            health: Health::Healthy,
            draining: false,
            role: 0,
            age_ms: 0,
            ttft_us: 0,
            tpot_us: 0,
            weight: 100,
            prefill_tokens: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_is_the_field_of_its_name() {
        let replica = Replica {
            id: 1,
            region: 2,
            running: 3,
            waiting: 4,
            kv_blocks_used: 5,
            kv_blocks_total: 6,
            prefix_hit_permille: 7,
            health: Health::Unhealthy,
            draining: true,
            role: 8,
            age_ms: 9,
            ttft_us: 10,
            tpot_us: 11,
            weight: 12,
            prefill_tokens: 13,
        };
        let fleet =
            Fleet::of(&[replica], &[Region { id: 20, local: true, available: 21, queue: 22, rtt_us: 23, age_ms: 24 }]);
        let columns = [
            fleet.id(),
            fleet.region(),
            fleet.running(),
            fleet.waiting(),
            fleet.kv_blocks_used(),
            fleet.kv_blocks_total(),
            fleet.prefix_hit_permille(),
            fleet.health(),
            fleet.draining(),
            fleet.role(),
            fleet.age_ms(),
            fleet.ttft_us(),
            fleet.tpot_us(),
            fleet.weight(),
            fleet.prefill_tokens(),
        ];
        assert_eq!(columns.concat(), [1, 2, 3, 4, 5, 6, 7, 2, 1, 8, 9, 10, 11, 12, 13]);
        let regions = fleet.regions();
        let columns =
            [regions.id(), regions.local(), regions.available(), regions.queue(), regions.rtt_us(), regions.age_ms()];
        assert_eq!(columns.concat(), [20, 1, 21, 22, 23, 24]);
    }

    #[test]
    fn each_field_has_the_flag_of_its_name() {
        let check = |field, flag| assert_eq!(wit::Fields::from_bits_retain(bit(field)), flag);
        check(wit::Field::Id, wit::Fields::ID);
        check(wit::Field::Health, wit::Fields::HEALTH);
        check(wit::Field::PrefillTokens, wit::Fields::PREFILL_TOKENS);
        assert_eq!(wit::Field::PrefillTokens as usize + 1, FIELDS);
    }

    #[test]
    fn columns_that_came_together_are_told_apart() {
        let [id, running, waiting, health] =
            [wit::Field::Id, wit::Field::Running, wit::Field::Waiting, wit::Field::Health].map(bit);
        let together = Together::of(id | waiting | health, vec![1, 2, 30, 40, 5, 6]);
        assert_eq!(together.column(id), Some(&[1, 2][..]));
        assert_eq!(together.column(waiting), Some(&[30, 40][..]));
        assert_eq!(together.column(health), Some(&[5, 6][..]));
        assert_eq!(together.column(running), None);
        assert_eq!(Together::of(id | waiting, vec![]).column(waiting), Some(&[][..]), "of no replicas");
    }

    #[test]
    fn only_a_healthy_replica_that_stays_takes_work() {
        let fleet = Fleet::of(
            &[
                Replica::default(),
                Replica { health: Health::Unhealthy, ..Replica::default() },
                Replica { health: Health::Unknown, ..Replica::default() },
                Replica { draining: true, ..Replica::default() },
            ],
            &[],
        );
        let takers: Vec<usize> = fleet.rows().filter(|row| fleet.takes_work(*row)).collect();
        assert_eq!(takers, [0]);
        assert_eq!(fleet.takers(), takers);
    }
}
