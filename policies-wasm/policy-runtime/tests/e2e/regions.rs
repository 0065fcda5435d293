//! cross-region-push as built.

use std::sync::Arc;

use policy_api::{Answer, FleetView, Placement, RegionId, RegionRow, ReplicaId, ReplicaRow, RequestFacts};
use policy_runtime::Component;

use crate::support::{load, place, prompt, region, row, runtime};

fn view(version: u64, waiting: u32, regions: &[RegionRow]) -> Arc<FleetView> {
    Arc::new(FleetView::of(version, &[ReplicaRow { waiting, ..row(0, 1) }], regions))
}

fn asked(policy: &Component, hop: u32, letter: u8, fleet: &Arc<FleetView>) -> (Placement, String) {
    let Answer { verdict, words } = place(policy, RequestFacts { hop, ..prompt(1, letter, 8) }, fleet);
    (verdict, words.reason.unwrap_or_default())
}

#[test]
fn it_serves_here_then_pushes_then_holds() {
    let policy = load(&runtime(), "cross-region-push", "");
    let regions = [region(0, 1, 0), region(1, 2, 80_000), region(2, 2, 20_000)];
    assert_eq!(asked(&policy, 0, b'a', &view(1, 0, &regions)).0, Placement::Replica(ReplicaId(0)));
    let (verdict, why) = asked(&policy, 0, b'a', &view(2, 1, &regions));
    assert_eq!(verdict, Placement::Region(RegionId(2)), "{why}");
    let closed = [region(0, 0, 0), region(1, 2, 80_000), region(2, 0, 20_000)];
    let (verdict, why) = asked(&policy, 0, b'b', &view(3, 1, &closed));
    assert_eq!(verdict, Placement::Region(RegionId(1)), "{why}");
    // Region 2 is nearer, and region 1 has seen this one.
    let (verdict, why) = asked(&policy, 0, b'b', &view(4, 1, &regions));
    assert_eq!(
        (verdict, why.as_str()),
        (Placement::Region(RegionId(1)), "no room here: 8 of 8 blocks matched in region 1")
    );
    let (verdict, why) = asked(&policy, 0, b'a', &view(5, 1, &regions[..1]));
    assert_eq!((verdict, why.as_str()), (Placement::Hold, "no room here, nor in another region: held"));
}

#[test]
fn what_another_region_pushed_is_not_pushed_on() {
    let policy = load(&runtime(), "cross-region-push", "");
    let regions = [region(0, 0, 0), region(1, 9, 1)];
    assert_eq!(asked(&policy, 1, b'a', &view(1, 1, &regions)).0, Placement::Hold);
    assert_eq!(asked(&policy, 1, b'a', &view(2, 0, &regions)).0, Placement::Replica(ReplicaId(0)));
}
