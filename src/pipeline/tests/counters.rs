//! What the counters say after a run is what became of the records.

use prometheus::core::Collector;

use super::*;
use crate::domain::record::SkipReason;

fn text(text: &str, tokens: u32) -> Content {
    Content::Text(Text { text: text.to_owned(), tokens, truncated: text == "long", payload: None })
}

/// Observations of a histogram over all its labels.
fn observed(histogram: &impl Collector) -> u64 {
    let families = histogram.collect();
    let metrics = families.iter().flat_map(|family| family.get_metric());
    metrics.map(|metric| metric.get_histogram().get_sample_count()).sum()
}

#[tokio::test(start_paused = true)]
async fn the_counters_agree_with_the_outcomes() {
    let line = Line::start(clear(RejectReason::Rejected), 64);
    line.assign(1);
    line.receive_contents([
        text("one", 10),
        text("poison", 20),
        Content::Tombstone,
        text("long", 30),
        Content::Skip(SkipReason::Blank),
        Content::Reject(RejectReason::InvalidInput, "no JSON".to_owned()),
        text("four", 40),
    ]);
    pass(LATENCY * 20).await;
    line.accept(0).await;

    let metrics = &line.metrics;
    let processed = |outcome| metrics.records_processed_total.with_label_values(&["group", outcome]).get();
    let outcomes = ["embedded", "tombstone", "skipped", "dead_letter"].map(processed);
    assert_eq!(outcomes, [3, 1, 1, 2]);
    let dead = |reason| metrics.dead_letters_total.with_label_values(&["group", reason]).get();
    assert_eq!((dead("rejected"), dead("invalid_input")), (1, 1));
    assert_eq!(metrics.records_skipped_total.with_label_values(&["blank"]).get(), 1);
    assert_eq!(metrics.records_truncated_total.get(), 1);
    let produced = |topic| metrics.records_produced_total.with_label_values(&[topic, "ok"]).get();
    assert_eq!((produced("output"), produced("dead-letters")), (4, 2));
    let bytes = |topic| metrics.output_bytes_total.with_label_values(&[topic]).get();
    let sent: usize = line.sent.lock().unwrap().iter().map(|(outgoing, _)| outgoing.bytes()).sum();
    assert_eq!(bytes("output") + bytes("dead-letters"), sent as u64);

    let calls = line.provider.calls.lock().unwrap().clone();
    let requests = |outcome| metrics.api_requests_total.with_label_values(&["model", outcome]).get();
    assert_eq!(requests("ok") + requests("invalid_response"), calls.len() as u64);
    assert_eq!(requests("invalid_response"), line.calls_with("poison") as u64);
    let tokens = |kind| metrics.tokens_total.with_label_values(&["model", kind]).get();
    assert_eq!(tokens("estimated"), 100, "each text once, however often it is sent");
    assert_eq!(tokens("billed"), 80, "each good text is paid for once");
    let cost = |text: &str| match text {
        "one" => 10,
        "poison" => 20,
        "long" => 30,
        _ => 40,
    };
    let wasted = calls.iter().filter(|call| call.contains("poison"));
    assert_eq!(tokens("wasted"), wasted.flat_map(|call| call.split(',')).map(cost).sum::<u64>());

    let stage = |stage| metrics.stage_duration_seconds.with_label_values(&[stage]).get_sample_count();
    assert_eq!((stage("queue"), stage("embed"), stage("produce")), (1, calls.len() as u64, 6));
    assert_eq!(metrics.batches_closed_total.with_label_values(&["linger"]).get(), 1);
    assert_eq!(metrics.batch_records.get_sample_sum(), 4.0);
    assert_eq!(metrics.batch_tokens.get_sample_sum(), 100.0);
    assert_eq!(observed(&metrics.batch_fill_ratio) + observed(&metrics.batch_wait_seconds), 2);
    assert_eq!((observed(&metrics.record_tokens), metrics.record_tokens.get_sample_sum()), (4, 100.0));
    assert_eq!(observed(&metrics.api_request_duration_seconds), calls.len() as u64);
    assert_eq!(observed(&metrics.end_to_end_latency_seconds), 6);
    assert!(metrics.last_progress_timestamp_seconds.get() > 1e9);
    let buffered = (&metrics.buffered_records, &metrics.buffered_tokens, &metrics.buffered_bytes);
    assert_eq!((buffered.0.get(), buffered.1.get(), buffered.2.get()), (0, 0, 0));
    assert_eq!(metrics.kafka_assigned_partitions.with_label_values(&["group"]).get(), 1);
    assert_eq!(metrics.api_inflight_requests.with_label_values(&["model"]).get(), 0);
    let position = line.progress.borrow().first().and_then(|lane| lane.position);
    assert_eq!(position.map(|at| at.next()), Some(7));
}

#[tokio::test(start_paused = true)]
async fn a_refused_vector_is_counted_by_what_is_wrong_with_it() {
    for (then, label) in
        [(RejectReason::NonFinite, "non_finite"), (RejectReason::WrongDimensions, "wrong_dimensions")]
    {
        let verdict = Verdict::Retry {
            after: None,
            hold_off: false,
            attempts: Attempts::Few(1),
            then,
            meanwhile: SuspendReason::MalformedResponse,
        };
        let line = Line::start(verdict, 64);
        line.assign(1);
        line.receive(&[(1, 0, "poison")]);
        pass(LATENCY * 10).await;
        let refused = |label| line.metrics.vectors_invalid_total.with_label_values(&["model", label]).get();
        assert!(refused(label) > 0);
        let answered =
            line.metrics.api_requests_total.with_label_values(&["model", "invalid_response"]).get();
        let all = refused("non_finite") + refused("wrong_dimensions");
        assert_eq!(all, answered, "one a call");
    }
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_answer_is_no_invalid_vector() {
    let line = Line::start(clear(RejectReason::Rejected), 64);
    line.assign(1);
    line.receive(&[(1, 0, "poison")]);
    pass(LATENCY * 10).await;
    assert_eq!(line.dead_letters(), 1);
    assert!(
        !line.metrics.render().contains("vectors_invalid_total{model=\"model\",reason=\"non_finite\"} 1")
    );
}
