//! Ids ascend and are never given twice; a name is one replica's at a time; who is found again is the same.

use policy_api::RegionId;

use super::*;
use crate::config::ReplicaKind;

fn file(name: &str, port: u16) -> config::Replica {
    config::Replica {
        name: name.to_owned(),
        url: format!("http://127.0.0.1:{port}").try_into().unwrap(),
        region: RegionId(0),
        kind: ReplicaKind::Headworks,
        continues: dispatch::Continues::Nothing,
        weight: 100,
        models: Arc::new([]),
        transport: config::Transport::default(),
    }
}

fn roster(replicas_max: usize) -> Roster {
    let limits = crate::config::Limits::default();
    Roster::new(replicas_max, limits.breaker(), Links::of(&limits))
}

fn ids(replicas: &[Arc<Replica>]) -> Vec<u32> {
    replicas.iter().map(|replica| replica.id.0).collect()
}

fn discovery() -> Source {
    Source::Discovery("pool".into())
}

#[test]
fn a_sources_word_is_about_its_own() {
    let roster = roster(10);
    roster.sync(&Source::Config, &[file("a", 1), file("b", 2)], 0);
    let changes = roster.sync(&discovery(), &[file("c", 3)], 0);
    assert_eq!((ids(&changes.joined), ids(&changes.leaving)), (vec![2], vec![]));
    let changes = roster.sync(&discovery(), &[], 0);
    assert_eq!((ids(&changes.joined), ids(&changes.leaving)), (vec![], vec![2]));
    assert!(roster.named("a").is_some() && roster.named("c").is_none());
}

#[test]
fn the_same_word_changes_nothing_and_another_weight_is_taken_over() {
    let roster = roster(10);
    roster.sync(&Source::Config, &[file("a", 1)], 0);
    let heavier = config::Replica { weight: 300, ..file("a", 1) };
    let changes = roster.sync(&Source::Config, &[heavier], 0);
    assert!(changes.joined.is_empty() && changes.leaving.is_empty());
    assert_eq!(roster.members()[0].row(0).weight, 300);
}

#[test]
fn another_address_is_another_replica() {
    let roster = roster(10);
    roster.sync(&Source::Config, &[file("a", 1)], 0);
    let changes = roster.sync(&Source::Config, &[file("a", 2)], 0);
    assert_eq!((ids(&changes.joined), ids(&changes.leaving)), (vec![1], vec![0]));
    assert_eq!(roster.named("a").unwrap().id, ReplicaId(1));
}

#[test]
fn who_is_wanted_again_before_it_has_gone_is_the_same() {
    let roster = roster(10);
    roster.sync(&Source::Config, &[file("a", 1)], 0);
    roster.sync(&Source::Config, &[], 0);
    let changes = roster.sync(&Source::Config, &[file("a", 1)], 0);
    assert_eq!(ids(&changes.joined), [0], "who hears of it learns that it takes work again");
    assert!(!roster.members()[0].stay.leaves());
}

#[test]
fn an_id_is_never_given_twice() {
    let roster = roster(10);
    for id in 0..3 {
        let changes = roster.sync(&Source::Config, &[file("a", 1)], 0);
        assert_eq!(ids(&changes.joined), [id]);
        roster.sync(&Source::Config, &[], 0);
        roster.forget(ReplicaId(id));
    }
    assert!(roster.members().is_empty() && roster.replica(ReplicaId(1)).is_none());
}

#[test]
fn a_name_is_its_first_sources() {
    let roster = roster(10);
    roster.sync(&Source::Config, &[file("a", 1)], 0);
    let changes = roster.sync(&discovery(), &[file("a", 2)], 0);
    assert!(changes.joined.is_empty());
    let said = changes.refused[0].to_string();
    assert_eq!(said, "there is a replica \"a\" already (source: config); give this one another name");
    assert!(roster.join(&Source::Lease, &file("a", 1), 0).is_err());
}

#[test]
fn a_full_fleet_takes_nobody_in() {
    let roster = roster(2);
    let changes = roster.sync(&Source::Config, &[file("a", 1), file("b", 2), file("c", 3)], 0);
    assert_eq!((ids(&changes.joined), changes.refused.len()), (vec![0, 1], 1));
    assert!(matches!(roster.join(&Source::Admin, &file("d", 4), 0), Err(JoinError::Full { .. })));
    assert!(matches!(roster.join(&Source::Config, &file("b", 2), 0), Ok(Joined::Known(_))));
}

#[test]
fn a_replica_is_found_by_its_id_among_many() {
    let roster = roster(100);
    let files: Vec<config::Replica> = (0..50).map(|port| file(&port.to_string(), port + 1)).collect();
    roster.sync(&Source::Config, &files, 0);
    roster.members()[20].stay.leave(0);
    assert!(roster.forget(ReplicaId(20)));
    assert!(!roster.forget(ReplicaId(21)), "it stays");
    for (id, expected) in [(0, true), (19, true), (20, false), (21, true), (49, true), (50, false)] {
        assert_eq!(roster.replica(ReplicaId(id)).is_some_and(|replica| replica.id.0 == id), expected, "{id}");
    }
}
