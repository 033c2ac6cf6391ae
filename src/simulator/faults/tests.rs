use tokio::time::Instant;

use super::*;

/// Which of the calls 1 to `n` a single rule takes.
fn taken(when: &str, n: u64) -> Vec<u64> {
    let faults = Faults::parse(&format!("- when: {when}\n  then: {{status: 500}}\n")).unwrap();
    let mut script = Script::new(faults, Instant::now());
    (1..=n).filter(|_| script.next(&["text"], Instant::now()).is_some()).collect()
}

fn error(text: &str) -> String {
    Faults::parse(text).unwrap_err().to_string()
}

#[test]
fn yaml_and_json_lists_and_maps_are_one() {
    let yaml = "
# a comment
seed: 7
rules:
  - when: {every: 10, contains: [a, b]}
    then:
      status: 429
      retry_after: 1.5
      headers: {X-Number: 3, x-text: yes please}
      body: {Code: 1, Nested: {Key: [1, null, 'x']}}
  - then: {delay: 1500ms, trickle: {bytes: 1, every: 5s}}
";
    let json = r#"{"seed": 7, "rules": [
        {"when": {"every": 10, "contains": ["a", "b"]},
         "then": {"status": 429, "retry_after": 1.5, "headers": {"X-Number": 3, "x-text": "yes please"},
                  "body": {"Code": 1, "Nested": {"Key": [1, null, "x"]}}}},
        {"then": {"delay": "1500ms", "trickle": {"bytes": 1, "every": "5s"}}}]}"#;
    let faults = Faults::parse(yaml).unwrap();
    assert_eq!(faults, Faults::parse(json).unwrap());
    let then = &faults.rules[0].then;
    assert_eq!(then.retry_after.as_ref().unwrap().to_string(), "1.5");
    assert_eq!(then.headers["X-Number"].to_string(), "3");
    assert_eq!(then.body.as_ref().unwrap()["Nested"]["Key"], serde_json::json!([1, null, "x"]));
    assert_eq!(faults.rules[1].then.delay, Some(Duration::from_millis(1500)));

    let list =
        Faults::parse("# first\n---\n- when: {every: 2}\n  then: {reset: true}\n- then: {hang: true}\n")
            .unwrap();
    assert_eq!(list.rules.len(), 2);
    assert_eq!(list.seed, 1);
    assert_eq!(
        list,
        Faults::parse(r#" [{"when": {"every": 2}, "then": {"reset": true}}, {"then": {"hang": true}}]"#)
            .unwrap()
    );
    assert_eq!(Faults::parse("rules: []").unwrap(), Faults::none());
    assert_eq!(Faults::parse("").unwrap(), Faults::none());
}

#[test]
fn unknown_keys_and_wrong_values_are_errors() {
    for (script, part) in [
        ("- when: {evry: 10}\n  then: {reset: true}", "evry"),
        ("- then: {statuss: 500}", "statuss"),
        ("- then: {reset: true}\n  els: 1", "els"),
        ("rule: []", "rule"),
        ("- when: {every: 10}", "then"),
        ("- then: {delay: soon}", "`soon` is not a duration such as 500ms"),
        ("- then: {trickle: {bytes: 1, evry: 1s}}", "evry"),
        ("- then: [", "fault script"),
        ("[{\"then\": {\"status\": 500}}", "EOF"),
        ("{\"rules\": [{\"then\": {\"stat\": 500}}]}", "stat"),
    ] {
        let message = error(script);
        assert!(message.contains(part), "{script}: {message}");
    }
    assert!(
        Faults::load(Path::new("/nowhere/faults.yaml"))
            .unwrap_err()
            .to_string()
            .contains("/nowhere/faults.yaml")
    );
}

#[test]
fn rules_that_contradict_themselves_are_errors() {
    for (rule, part) in [
        ("{when: {every: 0}, then: {reset: true}}", "`every`"),
        ("{when: {probability: 1.1}, then: {reset: true}}", "`probability`"),
        ("{when: {from: 5, to: 4}, then: {reset: true}}", "`from`"),
        ("{when: {after: 5s, until: 5s}, then: {reset: true}}", "`after`"),
        ("{then: {status: 199}}", "`status`"),
        ("{then: {status: 600}}", "`status`"),
        ("{then: {body: {a: 1}}}", "`body` needs"),
        ("{then: {html: true, status: 502, body: x}}", "`html`"),
        ("{then: {reset: true, status: 500}}", "one only"),
        ("{then: {hang: true, error_in_200: {code: 404}}}", "one only"),
        ("{then: {status: 500, shuffle: true}}", "no good answer"),
        ("{then: {reset: true, cut_body_at: 3}}", "no body"),
        ("{then: {cut_body_at: 3, trickle: {bytes: 1, every: 1s}}}", "one only"),
        ("{then: {trickle: {bytes: 0, every: 1s}}}", "at least one byte"),
        ("{then: {index: strings, no_index: true}}", "one only"),
        ("{then: {dimensions: 0}}", "`dimensions`"),
        ("{then: {dimensions: 16385}}", "`dimensions`"),
        ("{then: {headers: {\"not a name\": 1}}}", "header"),
        ("{then: {retry_after: \"a\\nb\"}}", "header"),
    ] {
        let message = error(&format!("- then: {{html: true}}\n- {rule}\n"));
        assert!(message.contains(part), "{rule}: {message}");
        assert!(message.contains("rule 2"), "{rule}: {message}");
    }
}

#[test]
fn calls_are_counted_from_one() {
    assert_eq!(taken("{every: 3}", 10), [3, 6, 9]);
    assert_eq!(taken("{from: 4, to: 6}", 10), [4, 5, 6]);
    assert_eq!(taken("{from: 9}", 10), [9, 10]);
    assert_eq!(taken("{times: 2}", 10), [1, 2]);
    assert_eq!(taken("{every: 2, times: 2}", 10), [2, 4]);
    assert_eq!(taken("{}", 2), [1, 2]);
    assert_eq!(taken("{inputs_over: 1}", 3), [0; 0]);
    assert_eq!(taken("{inputs_over: 0}", 3), [1, 2, 3]);
    assert_eq!(taken("{contains: ex}", 2), [1, 2]);
    assert_eq!(taken("{contains: EX}", 2), [0; 0]);
}

#[test]
fn a_text_is_looked_for_in_every_input_and_of_several_all_must_be_there() {
    let faults = Faults::parse("- when: {contains: [one, two]}\n  then: {reset: true}").unwrap();
    let mut script = Script::new(faults, Instant::now());
    let mut hit = |inputs: &[&str]| script.next(inputs, Instant::now()).is_some();
    assert!(hit(&["one", "nothing", "and two"]));
    assert!(hit(&["two one"]));
    assert!(!hit(&["one", "one"]));
    assert!(!hit(&[]));
}

#[test]
fn windows_of_time_are_half_open() {
    let faults = Faults::parse("- when: {after: 10s, until: 70s}\n  then: {status: 401}").unwrap();
    let start = Instant::now();
    let mut script = Script::new(faults, start);
    let mut hit = |milliseconds| script.next(&["a"], start + Duration::from_millis(milliseconds)).is_some();
    assert!(!hit(9_999));
    assert!(hit(10_000));
    assert!(hit(69_999));
    assert!(!hit(70_000));
}

#[test]
fn the_first_rule_that_matches_wins() {
    let faults = Faults::parse("- when: {every: 2}\n  then: {status: 500}\n- then: {status: 503}").unwrap();
    let mut script = Script::new(faults, Instant::now());
    let statuses: Vec<_> =
        (0..4).map(|_| script.next(&["a"], Instant::now()).unwrap().status.unwrap()).collect();
    assert_eq!(statuses, [503, 500, 503, 500]);
}

#[test]
fn chances_follow_the_seed() {
    let draw = |seed: u64| {
        let faults = Faults::parse(&format!(
            "seed: {seed}\nrules:\n- when: {{probability: 0.1}}\n  then: {{reset: true}}"
        ));
        let mut script = Script::new(faults.unwrap(), Instant::now());
        (0..10_000).map(|_| script.next(&["a"], Instant::now()).is_some()).collect::<Vec<_>>()
    };
    assert_eq!(draw(7), draw(7));
    assert_ne!(draw(7), draw(8));
    let share = draw(7).iter().filter(|hit| **hit).count();
    assert!((900..1100).contains(&share), "{share}");
    assert!(taken("{probability: 0}", 100).is_empty());
    assert_eq!(taken("{probability: 1}", 100).len(), 100);
}

#[test]
fn the_demos_poison_is_a_rule_like_any_other() {
    let mut script = Script::new(Faults::demo(), Instant::now());
    assert_eq!(script.next(&["fine"], Instant::now()), None);
    let then = script.next(&["fine", "so [[poison]] so"], Instant::now()).unwrap();
    assert_eq!(then.status, Some(400));
    assert_eq!(then.body.as_ref().unwrap()["code"], 20015);
}

#[test]
fn a_storm_lasts_until_nobody_calls() {
    let faults = Faults::parse("- when: {from: 2, until_quiet: 1s}\n  then: {status: 429}").unwrap();
    let start = Instant::now();
    let mut script = Script::new(faults, start);
    let mut hit = |milliseconds| script.next(&["a"], start + Duration::from_millis(milliseconds)).is_some();
    let seen: Vec<bool> = [0, 10, 900, 1_800, 2_799, 3_799, 3_800].into_iter().map(&mut hit).collect();
    assert_eq!(seen, [false, true, true, true, true, false, false]);
}

#[test]
fn an_unknown_key_is_told_with_the_nearest() {
    assert!(error("- then: {vektor: nan}").ends_with("did you mean `vector`?"));
}

#[test]
fn large_calls_are_told_by_their_bytes() {
    let faults = Faults::parse("- when: {bytes_over: 5}\n  then: {status: 413}").unwrap();
    let mut script = Script::new(faults, Instant::now());
    assert!(script.next(&["abc", "de"], Instant::now()).is_none());
    assert!(script.next(&["abc", "def"], Instant::now()).is_some());
}
