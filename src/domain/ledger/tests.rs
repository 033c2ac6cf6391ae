use super::*;

mod hot;
mod model;

const LANE: Generation = Generation(1);

/// A ledger with one lane.
fn ledger(order: Order) -> Ledger<&'static str> {
    let mut ledger = Ledger::new(order);
    ledger.open(LANE);
    ledger
}

/// Admits one record a key, 10 bytes each; offsets leave gaps: 0, 3, 6…
fn admit<O, const N: usize>(ledger: &mut Ledger<O>, keys: [&str; N]) -> [SlotId; N] {
    let mut offset = ledger.lanes[&LANE].first as i64 * 3 + ledger.lanes[&LANE].slots.len() as i64 * 3;
    keys.map(|key| {
        let key = (key != "null").then_some(key.as_bytes());
        let id = ledger.admit(LANE, Offset(offset), key, Some(1_000 + offset), 10).expect("the lane is open");
        offset += 3;
        id
    })
}

fn ready(ledger: &mut Ledger<&'static str>, ids: &[SlotId]) {
    for id in ids {
        assert_eq!(ledger.ready(*id, "vector"), Ok(()));
    }
}

/// Publishes all that may be published.
fn publish_all<O>(ledger: &mut Ledger<O>) -> Vec<Publication> {
    let mut publications = Vec::new();
    while let Some(id) = ledger.next_to_publish().map(|(id, _)| id) {
        publications.push(ledger.publish(id).expect("it was offered"));
    }
    publications
}

fn slots(publications: &[Publication]) -> Vec<SlotId> {
    publications.iter().map(|publication| publication.slot).collect()
}

fn position<O>(ledger: &Ledger<O>) -> Option<i64> {
    ledger.progress(LANE).expect("the lane is open").position.map(Position::next)
}

#[test]
fn order_key_publishes_what_has_no_earlier_unpublished_slot_of_its_key() {
    let mut ledger = ledger(Order::Key);
    let [a1, b1, a2, null] = admit(&mut ledger, ["a", "b", "a", "null"]);
    ready(&mut ledger, &[a2, b1, null]);
    assert_eq!(slots(&publish_all(&mut ledger)), [b1, null], "a2 waits for a1, nobody else does");
    ready(&mut ledger, &[a1]);
    assert_eq!(slots(&publish_all(&mut ledger)), [a1, a2]);
}

#[test]
fn order_partition_publishes_the_ready_prefix() {
    let mut ledger = ledger(Order::Partition);
    let [a, b, null, c] = admit(&mut ledger, ["a", "b", "null", "c"]);
    ready(&mut ledger, &[null, b]);
    assert!(ledger.next_to_publish().is_none());
    ready(&mut ledger, &[a]);
    assert_eq!(slots(&publish_all(&mut ledger)), [a, b, null]);
    ready(&mut ledger, &[c]);
    assert_eq!(slots(&publish_all(&mut ledger)), [c]);
}

#[test]
fn order_none_publishes_whatever_is_ready() {
    let mut ledger = ledger(Order::None);
    let [a1, a2, a3] = admit(&mut ledger, ["a", "a", "a"]);
    ready(&mut ledger, &[a3, a1]);
    assert_eq!(slots(&publish_all(&mut ledger)), [a3, a1]);
    ready(&mut ledger, &[a2]);
    assert_eq!(slots(&publish_all(&mut ledger)), [a2]);
}

#[test]
fn null_keys_wait_for_nobody_and_an_empty_key_is_a_key() {
    let mut ledger = ledger(Order::Key);
    let [_null, null, empty, second] = admit(&mut ledger, ["null", "null", "", ""]);
    ready(&mut ledger, &[second, null]);
    assert_eq!(slots(&publish_all(&mut ledger)), [null]);
    ready(&mut ledger, &[empty]);
    assert_eq!(slots(&publish_all(&mut ledger)), [empty, second]);
}

#[test]
fn lanes_do_not_wait_for_each_other_even_with_one_key() {
    let mut ledger = ledger(Order::Partition);
    ledger.open(Generation(2));
    admit(&mut ledger, ["a"]);
    let other = ledger.admit(Generation(2), Offset(0), Some(b"a"), None, 1).expect("open");
    ready(&mut ledger, &[other]);
    assert_eq!(slots(&publish_all(&mut ledger)), [other]);
}

#[test]
fn the_offered_outcome_stays_the_same_until_it_is_taken() {
    let mut ledger = ledger(Order::None);
    let [a, b] = admit(&mut ledger, ["a", "b"]);
    ready(&mut ledger, &[a]);
    assert_eq!(ledger.next_to_publish(), Some((a, &"vector")));
    ready(&mut ledger, &[b]);
    assert_eq!(ledger.next_to_publish(), Some((a, &"vector")));
}

#[test]
fn the_position_is_behind_the_acknowledged_prefix_and_gaps_are_normal() {
    let mut ledger = ledger(Order::None);
    let ids = admit(&mut ledger, ["a", "b", "c"]);
    ready(&mut ledger, &ids);
    let [a, b, c] = publish_all(&mut ledger)[..] else { panic!("three") };
    assert_eq!(position(&ledger), None, "published is not acknowledged");
    ledger.acknowledged(c);
    assert_eq!(position(&ledger), None, "the first one is missing");
    assert_eq!((ledger.len(), ledger.oldest(LANE)), (3, Some(1_000)));
    ledger.acknowledged(a);
    assert_eq!(position(&ledger), Some(1), "behind offset 0, not at offset 3");
    assert_eq!((ledger.len(), ledger.oldest(LANE)), (2, Some(1_003)));
    ledger.acknowledged(b);
    assert_eq!(position(&ledger), Some(7));
    assert_eq!((ledger.len(), ledger.oldest(LANE), ledger.is_empty()), (0, None, true));
    assert_eq!(ledger.progress(LANE).map(|progress| progress.settled), Some(3));
}

#[test]
fn a_failed_delivery_takes_the_later_slots_of_its_key_back_and_no_other() {
    let mut ledger = ledger(Order::Key);
    let ids = admit(&mut ledger, ["a", "b", "a", "a"]);
    ready(&mut ledger, &ids[..3]);
    let first = publish_all(&mut ledger);
    let [a1, b, a2] = ids.map(|id| first.iter().find(|publication| publication.slot == id))[..3] else {
        panic!("three")
    };
    let (a1, b, a2) = (*a1.expect("published"), *b.expect("published"), *a2.expect("published"));
    assert_eq!(ledger.acknowledged(a2), Some(0), "kept: a1 may force it to be published again");
    assert!(ledger.failed(a1));
    assert_eq!(ledger.acknowledged(b), Some(10), "b has nothing to do with it");
    let again = publish_all(&mut ledger);
    assert_eq!(slots(&again), [ids[0], ids[2]], "in order");
    ready(&mut ledger, &ids[3..]);
    assert_eq!(slots(&publish_all(&mut ledger)), [ids[3]]);
    assert_eq!(ledger.acknowledged(again[1]), Some(0));
    assert_eq!(ledger.acknowledged(again[0]), Some(20), "both are retired");
    assert_eq!(position(&ledger), Some(7));
}

#[test]
fn with_order_partition_a_failure_takes_everything_later_back() {
    let mut ledger = ledger(Order::Partition);
    let ids = admit(&mut ledger, ["a", "b", "null"]);
    ready(&mut ledger, &ids);
    let first = publish_all(&mut ledger);
    assert!(ledger.failed(first[1]));
    assert_eq!(ledger.acknowledged(first[0]), Some(10));
    assert_eq!(ledger.acknowledged(first[2]), None, "it is to be published again");
    assert_eq!(slots(&publish_all(&mut ledger)), ids[1..]);
}

#[test]
fn with_order_none_a_failure_takes_nothing_else_back() {
    let mut ledger = ledger(Order::None);
    let ids = admit(&mut ledger, ["a", "a"]);
    ready(&mut ledger, &ids);
    let first = publish_all(&mut ledger);
    assert!(ledger.failed(first[0]));
    assert_eq!(ledger.acknowledged(first[1]), Some(10));
    assert_eq!(slots(&publish_all(&mut ledger)), ids[..1]);
}

#[test]
fn what_failed_is_published_before_what_never_was() {
    let mut ledger = ledger(Order::Key);
    let ids = admit(&mut ledger, ["a", "b", "c"]);
    ready(&mut ledger, &ids);
    let a = ledger.next_to_publish().map(|(id, _)| id).and_then(|id| ledger.publish(id)).expect("a");
    assert!(ledger.failed(a));
    assert_eq!(slots(&publish_all(&mut ledger)), ids);
}

#[test]
fn an_answer_to_an_earlier_publication_is_not_taken_for_the_later_ones() {
    let mut ledger = ledger(Order::Key);
    let ids = admit(&mut ledger, ["a", "a"]);
    ready(&mut ledger, &ids);
    let first = publish_all(&mut ledger);
    assert!(ledger.failed(first[0]));
    let second = publish_all(&mut ledger);
    assert_ne!(first[1], second[1]);
    assert_eq!(ledger.acknowledged(first[1]), None);
    assert!(!ledger.failed(first[1]));
    assert_eq!(ledger.acknowledged(second[0]), Some(10));
    assert_eq!(ledger.acknowledged(second[1]), Some(10));
}

#[test]
fn bytes_are_charged_whole_and_given_back_once() {
    let mut ledger = ledger(Order::Key);
    let ids = admit(&mut ledger, ["a", "a", "b"]);
    assert_eq!(ledger.bytes(), 30);
    ready(&mut ledger, &ids[..2]);
    let published = publish_all(&mut ledger);
    assert_eq!(ledger.acknowledged(published[0]), Some(10));
    assert_eq!(ledger.acknowledged(published[0]), None, "once");
    assert_eq!(ledger.bytes(), 20);
    let closed = ledger.close(LANE);
    assert_eq!(closed.bytes, 20);
    assert_eq!(ledger.bytes(), 0);
    assert_eq!(ledger.acknowledged(published[1]), None, "closing gave it back");
}

#[test]
fn closing_says_what_was_wasted_and_what_will_be_repeated() {
    let mut ledger = ledger(Order::None);
    let ids = admit(&mut ledger, ["waiting", "sent", "ready", "published", "acknowledged"]);
    assert!(ledger.sent(ids[1]));
    ready(&mut ledger, &ids[3..]);
    let published = publish_all(&mut ledger);
    ready(&mut ledger, &ids[2..3]);
    ledger.acknowledged(published[1]);
    assert_eq!(ledger.close(LANE), Closed { bytes: 40, wasted: 2, repeated: 2 });
    assert_eq!(ledger.close(LANE), Closed::default());
    assert_eq!((ledger.len(), ledger.bytes()), (0, 0));
}

#[test]
fn late_work_is_handed_back_and_changes_nothing() {
    let mut ledger = ledger(Order::Key);
    let [a, b] = admit(&mut ledger, ["a", "b"]);
    ready(&mut ledger, &[b]);
    let publication = publish_all(&mut ledger)[0];
    ledger.close(LANE);
    ledger.open(Generation(2));
    let c = ledger.admit(Generation(2), Offset(0), Some(b"a"), None, 5).expect("open");
    assert_eq!(ledger.admit(LANE, Offset(9), None, None, 10), None);
    assert!(!ledger.is_open(a));
    assert!(!ledger.sent(a));
    ledger.unsent(a);
    assert_eq!(ledger.ready(a, "late"), Err("late"));
    assert_eq!(ledger.publish(a), None);
    assert_eq!(ledger.acknowledged(publication), None);
    assert!(!ledger.failed(publication));
    assert_eq!(ledger.outcome_mut(b), None);
    assert!(ledger.next_to_publish().is_none());
    assert_eq!((ledger.len(), ledger.bytes()), (1, 5));
    ready(&mut ledger, &[c]);
    assert_eq!(slots(&publish_all(&mut ledger)), [c], "an old key's record holds up nobody");
}

#[test]
fn a_held_lane_publishes_nothing_until_it_is_released_and_others_go_on() {
    let mut ledger = ledger(Order::Key);
    ledger.open(Generation(2));
    let ids = admit(&mut ledger, ["a", "a", "b"]);
    let other = ledger.admit(Generation(2), Offset(0), None, None, 1).expect("open");
    ready(&mut ledger, &ids[..2]);
    let a1 = ledger.publish(ids[0]).expect("the first of its key");
    ledger.hold(LANE);
    assert!(ledger.failed(a1), "the refused dead letter itself");
    ready(&mut ledger, &[ids[2], other]);
    assert_eq!(slots(&publish_all(&mut ledger)), [other]);
    assert_eq!(ledger.publish(ids[2]), None, "not even if asked for");
    assert!(!ledger.is_busy(LANE), "nothing of it is worth waiting for");
    ledger.hold(LANE);
    ledger.release(LANE);
    ledger.release(LANE);
    assert!(ledger.is_busy(LANE));
    let mut released = slots(&publish_all(&mut ledger));
    released.sort();
    assert_eq!(released, ids);
}

#[test]
fn a_lane_is_busy_while_something_is_on_the_wire_or_may_be_published_or_is_unanswered() {
    let mut ledger = ledger(Order::Key);
    let [a1, a2] = admit(&mut ledger, ["a", "a"]);
    assert!(!ledger.is_busy(LANE), "not sent: free to drop");
    ledger.sent(a1);
    assert!(ledger.is_busy(LANE));
    ledger.sent(a1);
    ledger.unsent(a1);
    ledger.unsent(a1);
    assert!(!ledger.is_busy(LANE), "a job in back-off is not waited for");
    ready(&mut ledger, &[a2]);
    assert!(!ledger.is_busy(LANE), "what waits for something unsent will not be published in time");
    ledger.sent(a1);
    ready(&mut ledger, &[a1]);
    assert!(ledger.is_busy(LANE));
    let published = publish_all(&mut ledger);
    assert!(ledger.is_busy(LANE));
    for publication in published {
        ledger.acknowledged(publication);
    }
    assert!(!ledger.is_busy(LANE));
    assert!(!ledger.is_busy(Generation(9)));
}

#[test]
fn an_outcome_can_be_replaced_until_it_is_retired() {
    let mut ledger = ledger(Order::Key);
    let [a] = admit(&mut ledger, ["a"]);
    assert_eq!(ledger.outcome_mut(a), None);
    ready(&mut ledger, &[a]);
    let refused = publish_all(&mut ledger)[0];
    assert!(ledger.failed(refused));
    *ledger.outcome_mut(a).expect("kept") = "dead letter";
    assert_eq!(ledger.next_to_publish(), Some((a, &"dead letter")));
    let published = publish_all(&mut ledger)[0];
    ledger.acknowledged(published);
    assert_eq!(ledger.outcome_mut(a), None);
}

#[test]
fn a_slot_that_is_not_next_in_its_chain_cannot_be_published() {
    let mut ledger = ledger(Order::Key);
    let ids = admit(&mut ledger, ["a", "a", "a"]);
    ready(&mut ledger, &ids[1..]);
    assert_eq!(ledger.publish(ids[1]), None);
    assert_eq!(ledger.publish(ids[2]), None);
    ready(&mut ledger, &ids[..1]);
    let published = publish_all(&mut ledger);
    assert_eq!(slots(&published), ids);
    assert!(ledger.failed(published[2]));
    assert!(ledger.failed(published[0]));
    assert_eq!(slots(&publish_all(&mut ledger)), ids);
}

#[test]
fn a_refusal_that_lasts_does_not_make_the_line_longer() {
    for order in [Order::Key, Order::Partition] {
        let mut ledger = ledger(order);
        let ids = admit(&mut ledger, ["a", "a", "a"]);
        ready(&mut ledger, &ids);
        for _ in 0..1_000 {
            let id = ledger.next_to_publish().map(|(id, _)| id).expect("the first of the chain");
            let publication = ledger.publish(id).expect("it was offered");
            assert_eq!(publication.slot, ids[0]);
            assert!(ledger.failed(publication));
        }
        assert!(ledger.publishable.len() <= 3, "{} in line", ledger.publishable.len());
        assert_eq!(slots(&publish_all(&mut ledger)), ids);
    }
}

#[test]
fn nonsense_calls_change_nothing() {
    let mut ledger = ledger(Order::Key);
    let [a, b] = admit(&mut ledger, ["a", "b"]);
    assert_eq!(ledger.publish(a), None, "not ready");
    ledger.unsent(a);
    ready(&mut ledger, &[a]);
    assert_eq!(ledger.ready(a, "second"), Err("second"));
    let publication = publish_all(&mut ledger)[0];
    assert_eq!(ledger.publish(a), None, "published already");
    let never = Publication { number: 2, ..publication };
    assert_eq!(ledger.acknowledged(never), None);
    assert_eq!(ledger.acknowledged(Publication { slot: b, number: 0 }), None);
    assert_eq!(ledger.acknowledged(publication), Some(10));
    assert_eq!(ledger.acknowledged(publication), None);
    assert!(!ledger.failed(publication), "acknowledged is acknowledged");
    assert_eq!(ledger.ready(a, "third"), Err("third"), "settled");
    let unknown = SlotId { generation: LANE, sequence: u64::MAX };
    assert_eq!(ledger.ready(unknown, "never admitted"), Err("never admitted"));
    assert_eq!(ledger.publish(unknown), None);
    ledger.open(LANE);
    assert_eq!((ledger.len(), ledger.bytes(), position(&ledger)), (1, 10, Some(1)), "opened once");
}
