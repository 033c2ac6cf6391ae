//! One key that has nearly everything.

use super::*;

/// 20 rounds of 10,000 slots of one key: ready from the last to the first, a failure in the middle and at the front,
/// answers from the last to the first. Quadratic, this would take minutes.
#[test]
fn a_hot_key_is_not_quadratic() {
    for order in [Order::Key, Order::Partition] {
        let mut ledger = ledger(order);
        for round in 1..=20_i64 {
            let ids: Vec<SlotId> = (0..500).flat_map(|_| admit(&mut ledger, ["hot"; 20])).collect();
            for id in ids.iter().rev() {
                ledger.sent(*id);
                ready(&mut ledger, &[*id]);
            }
            let mut published = publish_all(&mut ledger);
            for failed in [5_000, 0] {
                assert!(ledger.failed(published[failed]));
                published.truncate(failed);
                published.extend(publish_all(&mut ledger));
                assert_eq!(published.len(), ids.len());
            }
            let freed: u64 =
                published.iter().rev().filter_map(|publication| ledger.acknowledged(*publication)).sum();
            assert_eq!(freed, 100_000);
            assert_eq!(position(&ledger), Some(round * 30_000 - 2));
        }
        assert_eq!(ledger.publishable.len(), 0);
    }
}

/// What fails one by one from the last to the first was published once each, so it is taken back once each.
#[test]
fn failures_from_the_last_to_the_first_are_not_quadratic() {
    let mut ledger = ledger(Order::Partition);
    let ids: Vec<SlotId> = (0..2_500).flat_map(|_| admit(&mut ledger, ["hot"; 20])).collect();
    ready(&mut ledger, &ids);
    for publication in publish_all(&mut ledger).iter().rev() {
        assert!(ledger.failed(*publication));
    }
    let published = publish_all(&mut ledger);
    assert_eq!(slots(&published), ids);
    assert!(ledger.next_to_publish().is_none());
}

/// The loop asks at every turn of a drain, and while the producer's queue is full tens of thousands stand in line. Looked for
/// one by one, this would take minutes.
#[test]
fn a_long_line_does_not_make_busy_slow() {
    let mut ledger = ledger(Order::None);
    let ids: Vec<SlotId> = (0..5_000).flat_map(|_| admit(&mut ledger, ["any"; 20])).collect();
    ready(&mut ledger, &ids);
    let (idle, busy) = (Generation(2), LANE);
    ledger.open(idle);
    for _ in 0..100_000 {
        assert!(ledger.is_busy(busy) && !ledger.is_busy(idle));
    }
}
