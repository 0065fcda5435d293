//! The view's version moves when the fleet does and at no other time, and a model's view holds who serves it.

use futures_util::FutureExt;
use openai_api::ReplicaState;
use policy_api::Health;

use super::*;
use crate::wire::read_models;

struct Bench {
    fleet: Fleet,
    clock: Clock,
}

impl Bench {
    fn new(replicas: usize) -> Bench {
        let mut text = "listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\n".to_owned();
        for index in 0..replicas {
            text += &format!("[[replica]]\nname = \"r{index}\"\nurl = \"http://127.0.0.1:1\"\n");
        }
        let config = Config::parse(&text, std::path::Path::new("test.toml")).unwrap();
        let fleet = Fleet::new(&config);
        fleet.sync(&Source::Config, &config.replicas, 0);
        Bench { fleet, clock: Clock::start() }
    }

    fn view(&self, model: Option<&str>) -> Result<Arc<FleetView>, NoView> {
        self.fleet.view(Looking { clock: &self.clock, held: 0 }, model)
    }

    fn look(&self, replica: usize, state: ReplicaState) {
        self.fleet.replicas()[replica].looks_well(state, 0, self.clock.now_ms());
        self.fleet.touch();
    }

    fn serves(&self, replica: usize, models: &[&str]) {
        let models: Vec<String> = models.iter().map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
        let list = format!(r#"{{"data":[{}]}}"#, models.join(","));
        self.fleet.replicas()[replica].serves(read_models(list.as_bytes()).unwrap());
        self.fleet.touch();
    }
}

#[test]
fn the_version_moves_only_when_something_changed() {
    let bench = Bench::new(2);
    bench.look(0, ReplicaState::default());
    let first = bench.view(None).unwrap();
    bench.look(0, ReplicaState::default());
    assert_eq!(bench.view(None).unwrap().version, first.version, "the same was seen again");
    bench.look(0, ReplicaState { running: 1, ..ReplicaState::default() });
    assert!(bench.view(None).unwrap().version > first.version);
}

#[test]
fn a_request_under_way_is_seen_before_the_next_look() {
    let bench = Bench::new(1);
    bench.look(0, ReplicaState::default());
    let ticket = bench.fleet.replicas()[0].ticket(1, 0).expect("there is room");
    bench.fleet.mark();
    assert_eq!(bench.view(None).unwrap().running, [1]);
    assert!(bench.fleet.replicas()[0].ticket(1, 0).is_none(), "one is the bound");
    drop(ticket);
    bench.fleet.touch();
    assert_eq!(bench.view(None).unwrap().running, [0]);
}

#[test]
fn a_models_view_holds_who_serves_it() {
    let bench = Bench::new(3);
    assert_eq!(bench.view(Some("a")), Err(NoView::NobodyKnown));
    bench.serves(0, &["a", "b"]);
    bench.serves(1, &["b"]);
    assert_eq!(bench.view(Some("c")), Err(NoView::NobodyKnown), "the third may serve it");
    bench.serves(2, &["b"]);
    assert_eq!(bench.view(Some("a")).unwrap().id, [0]);
    assert_eq!(bench.view(Some("b")).unwrap().id, [0, 1, 2]);
    assert_eq!(bench.view(Some("c")), Err(NoView::UnknownModel));
    assert_ne!(bench.view(Some("a")).unwrap().version, bench.view(Some("b")).unwrap().version);
}

#[test]
fn a_change_elsewhere_leaves_a_models_view_alone() {
    let bench = Bench::new(2);
    bench.serves(0, &["a"]);
    bench.serves(1, &["b"]);
    bench.look(1, ReplicaState::default());
    let a = bench.view(Some("a")).unwrap();
    bench.look(1, ReplicaState { running: 3, ..ReplicaState::default() });
    assert_eq!(bench.view(Some("b")).unwrap().running, [3]);
    assert!(Arc::ptr_eq(&a, &bench.view(Some("a")).unwrap()));
}

#[test]
fn those_tried_are_gone_from_the_view_and_its_version_is_its_own() {
    let bench = Bench::new(3);
    let all = bench.view(None).unwrap();
    let tried = Tried { replicas: vec![ReplicaId(1)], regions: Vec::new() };
    let rest = bench.fleet.view_without(&all, &tried);
    assert_eq!(rest.id, [0, 2]);
    assert_eq!(rest.weight.len(), 2);
    assert!(rest.version > all.version);
}

#[test]
fn illness_takes_as_many_failures_as_configured_and_one_good_look_heals() {
    let bench = Bench::new(1);
    let replica = bench.fleet.replicas()[0].clone();
    bench.look(0, ReplicaState::default());
    assert!(!replica.looks_ill("once".to_owned(), 1, 2));
    assert_eq!(replica.reading().health, Health::Healthy);
    assert!(replica.looks_ill("twice".to_owned(), 1, 2));
    assert_eq!(replica.reading().health, Health::Unhealthy);
    assert!(!replica.looks_ill("thrice".to_owned(), 1, 2), "it already was");
    assert!(replica.looks_well(ReplicaState::default(), 0, 0));
    assert_eq!(replica.reading().health, Health::Healthy);
}

#[test]
fn who_is_held_is_in_the_view_and_wakes_nobody() {
    let bench = Bench::new(1);
    bench.look(0, ReplicaState::default());
    let view = |held| bench.fleet.view(Looking { clock: &bench.clock, held }, None).unwrap();
    let first = view(0);
    let changed = bench.fleet.changed();
    bench.fleet.mark();
    let second = view(3);
    assert!(second.version > first.version);
    assert_eq!(changed.now_or_never(), None, "nobody is asked again for it");
}

#[test]
fn a_maker_that_died_leaves_the_making_to_the_next() {
    let bench = Bench::new(1);
    std::thread::scope(|scope| {
        let died = scope.spawn(|| {
            let _publisher = bench.fleet.publisher.lock().unwrap();
            panic!("in the middle of making a view");
        });
        assert!(died.join().is_err());
    });
    bench.look(0, ReplicaState { running: 4, ..ReplicaState::default() });
    assert_eq!(bench.view(None).unwrap().running, [4]);
}

impl Bench {
    /// Fails so many requests that its breaker opens.
    fn fails(&self, replica: usize, after_ms: u64) {
        for _ in 0..5 {
            self.fleet.replicas()[replica].conducts(self.clock.now_ms() + after_ms, dispatch::Conduct::Failed);
        }
        self.fleet.touch();
    }

    fn well(&self, model: &str) -> Vec<u32> {
        let view = self.view(Some(model)).unwrap();
        (0..view.len()).filter(|row| view.takes_work(*row)).map(|row| view.id[row]).collect()
    }
}

#[test]
fn breakers_take_out_a_share_of_those_that_are_well_and_nobody_who_serves_alone() {
    let bench = Bench::new(5);
    for replica in 0..5 {
        bench.serves(replica, if replica == 4 { &["tiny", "large"] } else { &["tiny"] });
        bench.look(replica, ReplicaState::default());
    }
    bench.fails(0, 0);
    assert_eq!(bench.well("tiny"), [1, 2, 3, 4]);
    bench.fails(4, 100);
    assert_eq!(bench.well("large"), [4], "nobody else serves it");
    bench.fails(1, 200);
    assert_eq!(bench.well("tiny"), [1, 2, 3, 4], "two of five are out already, one of them only in name");
    bench.fleet.replicas()[2].looks_ill("gone".to_owned(), 9, 1);
    bench.fleet.replicas()[3].looks_ill("gone".to_owned(), 9, 1);
    bench.fleet.touch();
    assert_eq!(bench.well("tiny"), [1, 4], "one of the three that are well");
    // A first good look after an illness closes the breaker.
    bench.fleet.replicas()[0].looks_ill("gone".to_owned(), 9, 1);
    bench.look(0, ReplicaState::default());
    assert_eq!(bench.well("tiny"), [0, 1, 4]);
}

#[test]
fn a_busy_one_is_out_only_while_another_could_do_its_work() {
    let bench = Bench::new(2);
    for replica in 0..2 {
        bench.serves(replica, &["tiny"]);
        bench.look(replica, ReplicaState::default());
    }
    let busy = |replica: usize| {
        let conduct = dispatch::Conduct::Busy { retry_after_ms: Some(60_000) };
        bench.fleet.replicas()[replica].conducts(bench.clock.now_ms(), conduct);
        bench.fleet.touch();
    };
    busy(0);
    assert_eq!(bench.well("tiny"), [1]);
    busy(1);
    assert_eq!(bench.well("tiny"), [0, 1]);
}

#[test]
fn a_burst_over_thousands_of_replicas_makes_few_views() {
    const REPLICAS: usize = 4000;
    const REQUESTS: u64 = 2000;
    let bench = Bench::new(REPLICAS);
    for replica in 0..REPLICAS {
        bench.fleet.replicas()[replica].looks_well(ReplicaState::default(), 0, 0);
    }
    bench.fleet.touch();
    let first = bench.view(None).unwrap().version;
    let began_us = bench.clock.now_us();
    let mut tickets = Vec::new();
    for request in 0..REQUESTS {
        let replica = bench.fleet.replica(ReplicaId(request as u32 % 100)).unwrap();
        tickets.push(replica.ticket(u32::MAX, 0).unwrap());
        bench.fleet.mark();
        bench.view(None).unwrap();
    }
    let took_us = bench.clock.now_us() - began_us;
    let views = bench.view(None).unwrap().version - first;
    eprintln!("{REQUESTS} looks at {REPLICAS} replicas took {took_us} us and made {views} views");
    assert!(views <= took_us * REPLICAS_PER_US / REPLICAS as u64 + 2, "{views} views in {took_us} us");
    // What must not be out of date is not.
    let began_us = bench.clock.now_us();
    bench.fleet.settle(Looking { clock: &bench.clock, held: 0 });
    eprintln!("one view of {REPLICAS} replicas took {} us to make", bench.clock.now_us() - began_us);
    assert_eq!(bench.view(None).unwrap().running.iter().sum::<u32>(), REQUESTS as u32);
}
