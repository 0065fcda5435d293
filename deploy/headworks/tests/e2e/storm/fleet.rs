//! The storm's fleet, two engines and one behind a gremlin, and what befalls it.

use std::collections::BTreeMap;
use std::time::Instant;

use super::client::{Answer, Expected};
use super::gremlin::{Gremlin, Mood};
use crate::http;
use crate::processes::{Server, engine, proxy, wait_for};

/// Quick bounds, so that what hangs is given up within the test.
const LIMITS: &str = "[limits]\npoll_interval_ms = 50\npoll_ms_max = 300\nanswer_ms_max = 3000\nsilence_ms_max = 3000\n\
                      stall_ms_max = 400\nhold_ms_max = 3000\nbreaker_open_ms = 200\nbreaker_open_ms_max = 1000\n";

/// Chance from a seed: SplitMix64.
pub struct Chance(u64);

impl Chance {
    pub fn from(seed: u64) -> Chance {
        Chance(seed)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

pub struct Fleet {
    /// Not among the replicas: says what is right.
    pub undisturbed: Server,
    engines: Vec<Server>,
    dead: Vec<bool>,
    stopped: Vec<bool>,
    _behind: Server,
    gremlin: Gremlin,
    pub proxy: Server,
    faults: BTreeMap<String, u32>,
}

/// What a process has taken.
#[derive(Clone, Copy, Debug)]
pub struct Use {
    pub files: usize,
    pub memory_kib: u64,
}

impl Fleet {
    pub fn start() -> Fleet {
        let engines = vec![engine(&[]), engine(&[])];
        let behind = engine(&[]);
        let gremlin = Gremlin::before(behind.url.strip_prefix("http://").unwrap().parse().unwrap());
        let gremlin_url = format!("http://{}", gremlin.address);
        let proxy = proxy(&[&engines[0].url, &engines[1].url, &gremlin_url], "round-robin", LIMITS);
        let fleet = Fleet {
            undisturbed: engine(&[]),
            dead: vec![false; engines.len()],
            stopped: vec![false; engines.len()],
            engines,
            _behind: behind,
            gremlin,
            proxy,
            faults: BTreeMap::new(),
        };
        fleet.until_all_healthy();
        fleet
    }

    /// The next fault, or the end of one.
    pub fn fault(&mut self, chance: &mut Chance) {
        let which = chance.below(self.engines.len() as u64) as usize;
        let word = match chance.below(12) {
            0 | 1 => self.kill_or_start(which),
            2 => self.stop_or_continue(which),
            3 => self.mood(Mood::Reset),
            4 => self.mood(Mood::AtFault),
            5 => self.mood(Mood::Stall),
            6 => self.mood(Mood::HalfOpen),
            7 => self.mood(Mood::Garbage),
            8 | 9 => self.mood(Mood::CutAfter(chance.below(6000) as usize)),
            10 => self.mood(Mood::StallAfter(chance.below(6000) as usize)),
            _ => self.mood(Mood::Slow),
        };
        *self.faults.entry(word.to_owned()).or_default() += 1;
    }

    fn mood(&mut self, mood: Mood) -> &'static str {
        self.gremlin.set(mood);
        match mood {
            Mood::Pass => "pass",
            Mood::Reset => "reset",
            Mood::AtFault => "500",
            Mood::Stall => "stall",
            Mood::HalfOpen => "half-open",
            Mood::Garbage => "garbage",
            Mood::CutAfter(_) => "cut in mid-answer",
            Mood::StallAfter(_) => "stall in mid-answer",
            Mood::Slow => "slow",
        }
    }

    fn kill_or_start(&mut self, which: usize) -> &'static str {
        if self.dead[which] {
            self.start_again(which);
            return "started again";
        }
        if self.is_out(1 - which) {
            return self.bring_back(1 - which);
        }
        self.go_on(which);
        self.engines[which].kill();
        self.dead[which] = true;
        "kill -9"
    }

    fn stop_or_continue(&mut self, which: usize) -> &'static str {
        if self.dead[which] {
            return self.kill_or_start(which);
        }
        if self.stopped[which] {
            self.go_on(which);
            return "SIGCONT";
        }
        if self.is_out(1 - which) {
            return self.bring_back(1 - which);
        }
        self.engines[which].signal("STOP");
        self.stopped[which] = true;
        "SIGSTOP"
    }

    fn is_out(&self, which: usize) -> bool {
        self.dead[which] || self.stopped[which]
    }

    /// One engine stays: with nobody there every request would only be refused.
    fn bring_back(&mut self, which: usize) -> &'static str {
        if self.dead[which] {
            self.start_again(which);
            return "started again";
        }
        self.go_on(which);
        "SIGCONT"
    }

    fn go_on(&mut self, which: usize) {
        if std::mem::take(&mut self.stopped[which]) {
            self.engines[which].signal("CONT");
        }
    }

    fn start_again(&mut self, which: usize) {
        let listen = self.engines[which].url.strip_prefix("http://").unwrap().to_owned();
        self.engines[which] = engine(&["--listen", &listen]);
        self.dead[which] = false;
    }

    /// No fault any more.
    pub fn clear(&mut self) {
        self.gremlin.set(Mood::Pass);
        for which in 0..self.engines.len() {
            self.go_on(which);
            if self.dead[which] {
                self.start_again(which);
            }
        }
        self.until_all_healthy();
    }

    /// Nobody is there, and the proxy knows.
    pub fn all_down(&mut self) {
        self.gremlin.set(Mood::Reset);
        for which in 0..self.engines.len() {
            self.engines[which].kill();
            self.dead[which] = true;
        }
        self.until("the dead to be known", |health| health.iter().filter(|word| *word == "unhealthy").count() == 2);
    }

    /// Brings everybody back. Milliseconds from when the last one was up to the first right answer of a whole round.
    pub fn recover(&mut self, expected: &Expected) -> u128 {
        self.gremlin.set(Mood::Pass);
        (0..self.engines.len()).for_each(|which| self.start_again(which));
        let up = Instant::now();
        let mut chance = Chance::from(1);
        let mut in_row = 0;
        wait_for("answers of all replicas", || {
            let answer = expected.ask(&self.proxy.url, in_row, &mut chance);
            in_row = if answer == Answer::Right || answer == Answer::Left { in_row + 1 } else { 0 };
            (in_row >= 6).then_some(())
        });
        let took = up.elapsed().as_millis();
        self.until_all_healthy();
        took
    }

    pub fn until_all_healthy(&self) {
        self.until("all replicas to be healthy", |health| health.iter().all(|word| word == "healthy"));
    }

    fn until(&self, what: &str, holds: impl Fn(&[String]) -> bool) {
        wait_for(what, || {
            let fleet = self.proxy.admin_json("/admin/v1/fleet");
            let replicas = fleet["regions"][0]["replicas"].as_array().unwrap();
            let health: Vec<String> =
                replicas.iter().map(|replica| replica["health"].as_str().unwrap().to_owned()).collect();
            holds(&health).then_some(())
        });
    }

    pub fn metrics(&self) -> String {
        http::get(&format!("{}/metrics", self.proxy.admin)).text()
    }

    pub fn proxy_use(&self) -> Use {
        let folder = format!("/proc/{}", self.proxy.id());
        let files = std::fs::read_dir(format!("{folder}/fd")).unwrap().count();
        let status = std::fs::read_to_string(format!("{folder}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        Use { files, memory_kib: resident.trim().trim_end_matches(" kB").parse().unwrap() }
    }

    /// The faults by their names.
    pub fn told(&self) -> String {
        self.faults.iter().map(|(word, count)| format!("{word} {count}")).collect::<Vec<_>>().join(", ")
    }
}
