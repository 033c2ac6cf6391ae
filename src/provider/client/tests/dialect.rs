//! What one provider wants otherwise than the others.

use super::*;

#[tokio::test]
async fn azure_gets_its_header_and_its_version() {
    let server = Server::with([good(), good()]).await;
    let mut settings = provider(&format!("http://{}/openai/deployments/d", server.address));
    settings.key_header = "api-key".to_owned();
    settings.api_version = Some("2024-10-21".to_owned());
    settings.response_cache = false;
    let azure = client(&settings);
    azure.send(azure.body(&["t"])).await.unwrap();
    // A header of the user's own comes first.
    settings.headers.insert("Api-Key".to_owned(), "other".to_owned());
    let own = client(&settings);
    own.send(own.body(&["t"])).await.unwrap();
    let seen = server.seen();
    assert!(
        seen[0].contains("POST /openai/deployments/d/embeddings?api-version=2024-10-21 HTTP/1.1"),
        "{}",
        seen[0]
    );
    assert!(seen[0].contains(&format!("api-key: {KEY}")), "{}", seen[0]);
    assert!(!seen[0].contains("authorization") && !seen[0].contains("x-openrouter-cache"), "{}", seen[0]);
    assert!(seen[1].contains("api-key: other") && !seen[1].contains(KEY), "{}", seen[1]);
}

#[test]
fn a_length_that_is_asked_for_is_the_length_that_comes() {
    let mut settings = provider("http://host/v1");
    settings.shorten = config::Shorten::Remote;
    settings.encoding = Encoding::Unasked;
    let client = client(&settings);
    assert_eq!(client.body(&["t"]), r#"{"model":"m","dimensions":4,"input":["t"]}"#);
    let answer = |vector: &str| {
        let body = format!(r#"{{"data":[{{"embedding":{vector}}}]}}"#);
        Answer { status: 200, headers: Vec::new(), body: body.into() }
    };
    for (vector, right) in [("[1,0,0,0]", true), ("[1,0,0,0,0]", false), ("[1,0,0]", false)] {
        match client.read(&answer(vector), 1) {
            Ok(_) => assert!(right, "{vector}"),
            Err(failure) => {
                assert_eq!(meanwhile(&failure), SuspendReason::WrongDimensions, "{vector}");
                assert!(!right);
            }
        }
    }
}

#[tokio::test]
async fn openrouter_is_asked_about_the_key_and_the_model() {
    let key = br#"{"data":{"limit_remaining":1.5,"is_free_tier":false}}"#;
    let answers = [(200, &key[..]), (404, b"no")];
    let server = Server::with(answers.map(|(status, body)| Reply::Last(http(status, "", body)))).await;
    let about = client(&provider(&server.url())).about().await;
    assert!(about.upstreams.is_empty(), "{about:?}");
    let seen = server.seen();
    let asked = |path: &str| seen.iter().any(|request| request.starts_with(&format!("GET /v1/{path} ")));
    assert!(asked("key") && asked("models/m/endpoints"), "{seen:?}");
    assert!(seen.iter().all(|request| request.contains(&format!("authorization: Bearer {KEY}"))));
}

#[tokio::test]
async fn only_a_refused_key_is_more_than_nothing() {
    for (status, expected) in [
        (401, KeyState::Refused),
        (403, KeyState::Unknown),
        (404, KeyState::Unknown),
        (500, KeyState::Unknown),
    ] {
        let server = Server::with((0..2).map(|_| Reply::Last(http(status, "", b"x")))).await;
        let about = client(&provider(&server.url())).about().await;
        assert_eq!(about, About { key: expected, upstreams: Vec::new() }, "{status}");
    }
    // Nor is the key taken to where a redirect leads.
    let other = Server::with([good(), good()]).await;
    let location = format!("location: http://{}/v1/key\r\n", other.address);
    let server = Server::with((0..2).map(|_| Reply::Last(http(302, &location, b"")))).await;
    assert_eq!(client(&provider(&server.url())).about().await, About::default());
    assert_eq!(other.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn questions_are_bounded_in_size_and_time() {
    let large = http(200, "", &vec![b' '; (1 << 20) + 1]);
    let server = Server::with([Reply::Last(large.clone()), Reply::Last(large)]).await;
    assert_eq!(client(&provider(&server.url())).about().await, About::default());
    let server = Server::with([Reply::Silence(Arc::default()), Reply::Silence(Arc::default())]).await;
    let asked = client(&provider(&server.url()));
    let started = tokio::time::Instant::now();
    assert_eq!(asked.about().await, About::default());
    assert!(started.elapsed() < Duration::from_secs(15), "{:?}", started.elapsed());
}

#[test]
fn an_answer_from_the_cache_is_billed_nothing() {
    let client = client(&provider("http://127.0.0.1:9/v1"));
    let answer = |status: &str| Answer {
        status: 200,
        headers: vec![("x-openrouter-cache-status".to_owned(), status.to_owned())],
        body: r#"{"data":[{"embedding":[1,0,0,0]}],"usage":{"prompt_tokens":7,"total_tokens":7,"cost":0.5}}"#
            .into(),
    };
    let read = |status: &str| client.read(&answer(status), 1).unwrap();
    assert_eq!((read("HIT").tokens, read("HIT").cost_usd), (Some(0), Some(0.0)));
    assert_eq!((read("MISS").tokens, read("MISS").cost_usd), (Some(7), Some(0.5)));
}

#[test]
fn openrouter_gets_prices_as_strings() {
    let mut settings = provider("http://host/v1");
    let body =
        serde_json::json!({"provider": {"max_price": {"prompt": 0.02, "request": "0"}, "zdr": true}, "n": 1});
    settings.body = body.as_object().unwrap().clone();
    let sent: Value = serde_json::from_slice(&client(&settings).body(&["t"])).unwrap();
    let prices = serde_json::json!({"prompt": "0.02", "request": "0"});
    assert_eq!((&sent["provider"]["max_price"], &sent["n"]), (&prices, &Value::from(1)));
}

#[tokio::test]
async fn an_encoding_is_left_out_for_good_only_where_that_helped() {
    let quoted = br#"{"error":{"message":"Invalid input: the encoding_format of my radio","code":400}}"#;
    let refusal = || Reply::Bytes(http(400, "", quoted));
    let server = Server::with([refusal(), refusal(), good()]).await;
    let client = client(&provider(&server.url()));
    let answer = client.send(client.body(&["t"])).await.unwrap();
    assert_eq!(answer.status, 400);
    client.send(client.body(&["t"])).await.unwrap();
    assert!(server.seen()[2].contains("base64"));
}

#[test]
fn what_a_server_echoes_of_the_settings_headers_is_hidden() {
    let mut settings = provider("http://host/v1");
    settings.headers.insert("X-Secret".to_owned(), "Token HdrSecretValue".to_owned());
    settings.headers.insert("X-Title".to_owned(), "Server of mine".to_owned());
    let body = br#"{"error":{"message":"no","code":"HdrSecretValue"}}"#;
    let answer = Answer { status: 400, headers: Vec::new(), body: body.as_slice().into() };
    let message = client(&settings).read(&answer, 1).unwrap_err().message;
    assert!(message.contains("[hidden]") && !message.to_lowercase().contains("hdrsecret"), "{message}");
    assert!(message.starts_with("the server refuses the request (status 400"), "{message}");
}

#[tokio::test]
async fn a_probe_is_never_answered_from_a_cache() {
    let server = Server::with([good(), good()]).await;
    let client = client(&provider(&server.url()));
    client.send(client.body(&["ping"])).await.unwrap();
    client.probe(client.body(&["ping"])).await.unwrap();
    let seen = server.seen();
    assert!(seen[0].contains("x-openrouter-cache: true"), "{}", seen[0]);
    assert!(!seen[1].contains("x-openrouter-cache") && seen[1].contains(KEY), "{}", seen[1]);
}
