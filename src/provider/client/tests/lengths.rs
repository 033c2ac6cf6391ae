//! The length of a model's vectors.

use super::*;

#[test]
fn another_length_than_before_is_another_model() {
    let client = client(&provider("http://host/v1"));
    let answer = |length: usize| {
        let vector: Vec<f32> = (0..length).map(|i| if i == 0 { 1.0 } else { 0.0 }).collect();
        let body = serde_json::json!({"data": [{"embedding": vector}]}).to_string();
        Answer { status: 200, headers: Vec::new(), body: body.into() }
    };
    assert!(client.read(&answer(3), 1).is_err(), "too short teaches nothing");
    assert!(client.read(&answer(8), 1).is_ok());
    assert!(client.read(&answer(8), 1).is_ok());
    let failure = client.read(&answer(16), 1).unwrap_err();
    assert_eq!(meanwhile(&failure), SuspendReason::WrongDimensions);
    assert!(client.read(&answer(8), 1).is_ok());
}

#[test]
fn one_bad_first_answer_is_not_believed_for_ever() {
    let client = client(&provider("http://host/v1"));
    let read = |vector: &str| {
        let body = format!(r#"{{"data":[{{"embedding":{vector}}}]}}"#);
        client.read(&Answer { status: 200, headers: Vec::new(), body: body.into() }, 1).is_ok()
    };
    assert!(read("[1,0,0,0,0]"));
    let right: Vec<_> = (0..4).map(|_| read("[1,0,0,0]")).collect();
    assert_eq!(right, [false, true, true, true]);
    assert!(!read("[1,0,0,0,0]"));
}
