//! Kinds of servers, limits of each key, the response cache, and bodies that come badly.

use super::*;

async fn kind(profile: Profile) -> Running {
    start(Settings { profile, dimensions: 8, ..Settings::default() }).await
}

#[tokio::test]
async fn azure_wants_a_version_and_the_key_in_its_own_header() {
    let key = Some("k".to_owned());
    let running =
        start(Settings { profile: Profile::Azure, key, dimensions: 8, ..Settings::default() }).await;
    let body = json!({"input": ["a"]});
    let call = |path: &str, header: &str, key: &str| {
        let url = format!("http://{}/openai/{path}", running.addr);
        send(reqwest::Client::new().post(url).header(header, key).body(body.to_string()))
    };
    let deployment = "deployments/d/embeddings";
    let versioned = "deployments/d/embeddings?api-version=2024-10-21";
    assert_eq!(call(deployment, "api-key", "k").await.unwrap().status, 404);
    assert_eq!(call(versioned, "authorization", "Bearer k").await.unwrap().status, 401);
    let good = call(versioned, "api-key", "k").await.unwrap();
    assert_eq!((good.status, good.json()["usage"].get("cost")), (200, None));
    assert_eq!(call("v1/embeddings", "api-key", "k").await.unwrap().status, 200);
}

#[tokio::test]
async fn only_openrouter_answers_probes() {
    let running = kind(Profile::OpenRouter).await;
    assert_eq!(get(&running, "/api/v1/key").await.json()["data"]["is_free_tier"], false);
    let told = get(&running, "/api/v1/models/qwen/qwen3-embedding-4b/endpoints").await.json();
    assert_eq!(told["data"]["id"], MODEL);
    assert_eq!(told["data"]["endpoints"][0]["context_length"], 32_768);
    running.set_key(Some("k".into()));
    assert_eq!(get(&running, "/api/v1/key").await.status, 401);
    let other = kind(Profile::OpenAi).await;
    assert_eq!(get(&other, "/v1/key").await.status, 404);
    assert_eq!(get(&other, "/v1/models/a/b/endpoints").await.status, 404);
}

#[tokio::test]
async fn each_key_has_its_own_limits_and_bill() {
    let settings =
        Settings { requests_per_minute: Some(1), burst_requests: 1, dimensions: 8, ..Settings::default() };
    let running = start(settings).await;
    let call = |key: &'static str| send(embed(&running, &texts(&["a"])).header("authorization", key));
    assert_eq!(call("Bearer secret-1").await.unwrap().status, 200);
    assert_eq!(call("Bearer secret-1").await.unwrap().status, 429);
    assert_eq!(call("Bearer secret-2").await.unwrap().status, 200);
    let shown = String::from_utf8(get(&running, "/ledger").await.body).unwrap();
    assert!(!shown.contains("secret"), "{shown}");
    let ledger = running.ledger();
    assert_eq!((ledger.keys["key 1"].calls, ledger.keys["key 2"].calls), (1, 1));
    assert_eq!(ledger.outcomes["good"].calls, 2);
}

#[tokio::test]
async fn hidden_limits_tell_nothing() {
    let hints = Some(Hints::None);
    let settings = Settings {
        requests_per_minute: Some(1),
        burst_requests: 1,
        hints,
        dimensions: 8,
        ..Settings::default()
    };
    let running = start(settings).await;
    for status in [200, 429] {
        let answer = call(&running).await;
        assert_eq!(answer.status, status);
        assert!(!answer.headers.keys().any(|name| name.as_str().contains("ratelimit")));
        assert_eq!(answer.header("retry-after"), None);
    }
}

#[tokio::test]
async fn openrouter_answers_the_same_bytes_again_for_nothing() {
    let running = kind(Profile::OpenRouter).await;
    let call = |text: &'static str, key: &'static str| {
        let request = embed(&running, &texts(&[text])).header("authorization", key);
        send(request.header("x-openrouter-cache", "true"))
    };
    let first = call("a", "one").await.unwrap();
    assert_eq!(first.header("x-openrouter-cache-status"), Some("MISS"));
    let paid = running.ledger().tokens;
    let again = call("a", "one").await.unwrap();
    assert_eq!(again.header("x-openrouter-cache-status"), Some("HIT"));
    assert_eq!(again.json()["data"], first.json()["data"]);
    assert_eq!(
        (&again.json()["usage"]["prompt_tokens"], again.json()["usage"]["cost"].as_f64()),
        (&json!(0), Some(0.0))
    );
    assert_eq!((running.ledger().tokens, running.ledger().hits), (paid, 1));
    for (text, key) in [("b", "one"), ("a", "two")] {
        assert_eq!(call(text, key).await.unwrap().header("x-openrouter-cache-status"), Some("MISS"));
    }
    assert_eq!(super::call(&running).await.header("x-openrouter-cache-status"), None);
}

#[tokio::test]
async fn what_the_client_no_longer_waits_for_is_billed_as_unread() {
    let running = with_faults("- when: {times: 1}\n  then: {delay: 1h}").await;
    let mut waiting = Box::pin(call(&running));
    while running.ledger().tokens == 0 {
        tokio::select! {
            _ = &mut waiting => panic!("it is delayed"),
            () = tokio::task::yield_now() => {}
        }
    }
    drop(waiting);
    while running.ledger().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(call(&running).await.status, 200);
    let outcomes = running.ledger().outcomes;
    assert_eq!((outcomes["unread"].calls, outcomes["good"].calls), (1, 1));
}

#[tokio::test]
async fn a_body_can_be_of_the_wrong_gzip_or_shorter_than_announced() {
    let running = with_faults(
        "- when: {to: 1}\n  then: {gzip_cut: true}\n- when: {to: 2}\n  then: {cut_body_at: 9, announced: true}\n",
    )
    .await;
    let cut = send(embed(&running, &texts(&["a"]))).await.err().unwrap();
    assert!(cut.is_decode(), "{cut:?}");
    assert!(send(embed(&running, &texts(&["a"]))).await.is_err());
}

#[tokio::test]
async fn a_connection_can_end_at_its_reuse() {
    let running = with_faults("- then: {close_at_reuse: true}").await;
    let client = reqwest::Client::builder().pool_max_idle_per_host(1).build().unwrap();
    let call = || {
        let url = format!("{}/embeddings", running.url());
        send(client.post(url).body(texts(&["a"]).to_string()))
    };
    assert_eq!(call().await.unwrap().status, 200);
    assert!(call().await.is_err());
    assert_eq!(running.ledger().requests, 1);
}
