use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

use base64::Engine as _;
use serde_json::{Value, json};

use super::*;

mod kinds;

const ANY: &str = "127.0.0.1:0";

struct Answered {
    status: u16,
    headers: reqwest::header::HeaderMap,
    body: Vec<u8>,
}

impl Answered {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

async fn start(settings: Settings) -> Running {
    Simulator::start(ANY.parse().unwrap(), settings).await.unwrap()
}

async fn with_faults(script: &str) -> Running {
    start(Settings { faults: Faults::parse(script).unwrap(), dimensions: 32, ..Settings::default() }).await
}

async fn send(request: reqwest::RequestBuilder) -> Result<Answered, reqwest::Error> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Answered { status, headers, body: response.bytes().await?.to_vec() })
}

fn embed(running: &Running, body: &Value) -> reqwest::RequestBuilder {
    reqwest::Client::new().post(format!("{}/embeddings", running.url())).body(body.to_string())
}

fn texts(inputs: &[&str]) -> Value {
    json!({"model": "m", "input": inputs, "encoding_format": "base64"})
}

async fn call(running: &Running) -> Answered {
    send(embed(running, &texts(&["one text", "another text"]))).await.unwrap()
}

async fn get(running: &Running, path: &str) -> Answered {
    send(reqwest::Client::new().get(format!("http://{}{path}", running.addr))).await.unwrap()
}

#[tokio::test]
async fn it_speaks_the_wire_format_and_keeps_the_books() {
    let running = start(Settings::default()).await;
    let inputs = ["The invoice was paid twice.", "Die Rechnung wurde doppelt bezahlt. 🙂"];
    let answer = send(embed(&running, &texts(&inputs))).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let body = answer.json();
    let tokens: u64 = inputs.iter().map(|text| request::count(text)).sum();
    assert_eq!(body["usage"]["prompt_tokens"], tokens);
    assert_eq!(body["usage"]["total_tokens"], tokens);
    for (at, text) in inputs.iter().enumerate() {
        assert_eq!(body["data"][at]["index"], at);
        let text_form = body["data"][at]["embedding"].as_str().unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(text_form).unwrap();
        let vector: Vec<f32> =
            bytes.chunks_exact(4).map(|c| f32::from_le_bytes(c.try_into().unwrap())).collect();
        assert_eq!(vector, vectors::embed(text, 2560));
    }
    let refused = send(embed(&running, &texts(&["fine", " "]))).await.unwrap();
    assert_eq!(
        (refused.status, refused.json()["error"]["type"].as_str()),
        (400, Some("invalid_request_error"))
    );

    let ledger = running.ledger();
    assert_eq!((ledger.requests, ledger.inputs, ledger.tokens, ledger.rejected), (2, 2, tokens, 1));
    assert_eq!(ledger.statuses, [(200, 1), (400, 1)].into());
    assert!((ledger.cost_usd - tokens as f64 * 0.02 / 1e6).abs() < 1e-12);
    assert_eq!((ledger.in_flight, ledger.most_in_flight), (0, 1));
    let shown = get(&running, "/ledger").await.json();
    assert_eq!((shown["requests"].as_u64(), shown["statuses"]["400"].as_u64()), (Some(2), Some(1)));
    running.stop().await;
}

#[tokio::test]
async fn every_prefix_and_the_other_routes() {
    let running = start(Settings { dimensions: 8, ..Settings::default() }).await;
    for prefix in ["", "/v1", "/api/v1"] {
        let url = format!("http://{}{prefix}/embeddings", running.addr);
        let request = reqwest::Client::new().post(url).body(texts(&["a"]).to_string());
        assert_eq!(send(request).await.unwrap().status, 200, "{prefix}");
    }
    assert_eq!(get(&running, "/health").await.json()["status"], "ok");
    assert_eq!(get(&running, "/v1/models").await.json()["data"][0]["id"], MODEL);
    assert_eq!(get(&running, "/v1/chat").await.status, 404);
    assert_eq!(get(&running, "/v1/embeddings").await.status, 405);
}

#[tokio::test]
async fn one_key_opens_it() {
    let running = start(Settings { key: Some("sk-one".into()), dimensions: 8, ..Settings::default() }).await;
    assert_eq!(call(&running).await.status, 401);
    let with = |key: &str| embed(&running, &texts(&["a"])).header("authorization", format!("Bearer {key}"));
    let wrong = send(with("sk-two")).await.unwrap();
    assert_eq!((wrong.status, wrong.json()["error"]["code"].as_u64()), (401, Some(401)));
    assert_eq!(send(with("sk-one")).await.unwrap().status, 200);
    running.set_key(Some("sk-two".into()));
    assert_eq!(send(with("sk-one")).await.unwrap().status, 401);
    assert_eq!(send(with("sk-two")).await.unwrap().status, 200);
    assert!(
        !format!("{:?}", Settings { key: Some("sk-one".into()), ..Settings::default() }).contains("sk-one")
    );
}

#[tokio::test]
async fn limits_answer_429_with_a_hint() {
    let running = start(Settings {
        requests_per_minute: Some(60),
        burst_requests: 2,
        tokens_per_minute: Some(6_000),
        burst_tokens: 0,
        dimensions: 8,
        ..Settings::default()
    })
    .await;
    let good = call(&running).await;
    assert_eq!(good.status, 200);
    assert_eq!(good.header("x-ratelimit-limit-requests"), Some("60"));
    assert_eq!(good.header("x-ratelimit-remaining-requests"), Some("1"));
    assert_eq!(good.header("x-ratelimit-limit-tokens"), Some("6000"));
    assert!(good.header("x-ratelimit-reset-tokens").unwrap().ends_with("ms"));
    assert_eq!(call(&running).await.status, 200);
    let limited = call(&running).await;
    assert_eq!(limited.status, 429);
    assert_eq!(limited.header("retry-after"), Some("1"));
    assert_eq!(limited.header("x-ratelimit-remaining-requests"), Some("0"));
    let error = &limited.json()["error"];
    assert_eq!(error["code"], 429);
    assert_eq!(error["metadata"]["error_type"], "rate_limit_exceeded");
    let reset: u64 = error["metadata"]["headers"]["X-RateLimit-Reset"].as_str().unwrap().parse().unwrap();
    assert!(reset > 1_600_000_000_000, "milliseconds since the epoch: {reset}");
    assert_eq!((running.ledger().limited, running.ledger().rejected, running.ledger().requests), (1, 1, 3));

    running.set_limits(None, Some(3));
    let too_large =
        send(embed(&running, &texts(&["more than three tokens are in this text"]))).await.unwrap();
    assert_eq!((too_large.status, too_large.header("retry-after")), (429, None));
    assert!(
        too_large.json()["error"]["message"]
            .as_str()
            .unwrap()
            .starts_with("Request too large for m on tokens")
    );
    running.set_limits(None, None);
    assert_eq!(call(&running).await.header("x-ratelimit-limit-requests"), None);
}

#[tokio::test]
async fn statuses_headers_and_bodies_of_the_script() {
    let running = with_faults(
        r#"
- when: {to: 1}
  then: {status: 429, retry_after: 2, headers: {X-Extra: 1}}
- when: {to: 2}
  then: {status: 503, body: Loading model}
- when: {to: 3}
  then: {status: 400, body: {Code: 20015, data: null}}
- when: {to: 4}
  then: {html: true}
- when: {to: 5}
  then: {error_in_200: {message: No successful provider responses., code: 404}}
- when: {contains: "[[poison]]"}
  then: {status: 400}
"#,
    )
    .await;
    let limited = call(&running).await;
    assert_eq!(
        (limited.status, limited.header("retry-after"), limited.header("x-extra")),
        (429, Some("2"), Some("1"))
    );
    assert_eq!(limited.json()["error"]["code"], 429);
    let loading = call(&running).await;
    assert_eq!((loading.status, loading.body.as_slice()), (503, &b"Loading model"[..]));
    assert_eq!(call(&running).await.json(), json!({"Code": 20015, "data": null}));
    let page = call(&running).await;
    assert_eq!(page.status, 200);
    assert!(
        page.body.starts_with(b"<!DOCTYPE html>") && page.header("content-type").unwrap().contains("html")
    );
    let inside = call(&running).await;
    assert_eq!((inside.status, inside.json()["error"]["code"].as_u64()), (200, Some(404)));
    assert_eq!(send(embed(&running, &texts(&["fine", "a [[poison]] b"]))).await.unwrap().status, 400);
    assert_eq!(call(&running).await.status, 200);
    let ledger = running.ledger();
    assert_eq!((ledger.faulted, ledger.inputs), (6, 2), "what is not embedded is not billed");
    assert_eq!(ledger.statuses, [(200, 3), (400, 2), (429, 1), (503, 1)].into());
}

#[tokio::test]
async fn good_answers_are_bent() {
    let running = with_faults("- when: {to: 1}\n  then: {drop_last: true}\n- then: {dimensions: 4}\n").await;
    assert_eq!(call(&running).await.json()["data"].as_array().unwrap().len(), 1);
    let body = call(&running).await.json();
    assert_eq!(body["data"][0]["embedding"].as_str().unwrap().len(), 24, "4 floats in base64");
    assert_eq!(running.ledger().inputs, 4, "what is embedded is billed");
}

/// Sends a request by hand and reads until the end of the connection.
fn by_hand(running: &Running) -> std::thread::JoinHandle<(Vec<u8>, io::Result<()>)> {
    let addr = running.addr;
    std::thread::spawn(move || {
        let body = texts(&["a", "b"]).to_string();
        let mut stream = TcpStream::connect(addr).unwrap();
        write!(
            stream,
            "POST /v1/embeddings HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let (mut seen, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => return (seen, Ok(())),
                Ok(n) => seen.extend_from_slice(&buffer[..n]),
                Err(error) => return (seen, Err(error)),
            }
        }
    })
}

async fn joined<T: Send + 'static>(thread: std::thread::JoinHandle<T>) -> T {
    tokio::task::spawn_blocking(|| thread.join().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_is_a_reset() {
    let running = with_faults("- then: {reset: true}").await;
    let (seen, end) = joined(by_hand(&running)).await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(seen.is_empty());
    let error = send(embed(&running, &texts(&["a"]))).await.err().unwrap();
    assert!(error.is_request(), "{error:?}");
    let ledger = running.ledger();
    assert_eq!((ledger.resets, ledger.rejected, ledger.requests, ledger.in_flight), (2, 2, 2, 0));
    assert!(ledger.statuses.is_empty());
    running.set_faults(Faults::none());
    assert_eq!(call(&running).await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_body_lacks_its_end() {
    let running = with_faults("- then: {cut_body_at: 40}").await;
    let (seen, _) = joined(by_hand(&running)).await;
    let text = String::from_utf8(seen).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    assert!(
        text.contains(r#"{"object":"list","data":[{"object":"embe"#) && !text.contains("embed"),
        "{text}"
    );
    assert!(!text.ends_with("0\r\n\r\n"));
    assert!(send(embed(&running, &texts(&["a"]))).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_hangs_ends_with_the_simulator() {
    let running = with_faults("- then: {hang: true}").await;
    let hanging = by_hand(&running);
    while running.ledger().rejected == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.ledger().in_flight, 1);
    let (addr, shared) = (running.addr, Arc::clone(&running.shared));
    running.stop().await;
    let (seen, _) = joined(hanging).await;
    assert!(seen.is_empty());
    while shared.ledger().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(TcpStream::connect(addr).unwrap_err().kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test(start_paused = true)]
async fn latency_and_delays_pass_by_the_clock() {
    let running = with_faults("- when: {every: 2}\n  then: {delay: 3s}").await;
    running.set_latency(Duration::from_millis(200));
    for seconds in [0.2, 3.2] {
        let start = Instant::now();
        assert_eq!(call(&running).await.status, 200);
        let took = start.elapsed().as_secs_f64();
        assert!((seconds..seconds + 0.1).contains(&took), "{took}");
    }
    // What is refused does not wait.
    let start = Instant::now();
    assert_eq!(send(embed(&running, &texts(&[]))).await.unwrap().status, 400);
    assert!(start.elapsed() < Duration::from_millis(200));
}

#[tokio::test]
async fn a_length_out_of_bounds_is_an_error() {
    for dimensions in [0, MOST_DIMENSIONS + 1] {
        let settings = Settings { dimensions, ..Settings::default() };
        let error = Simulator::start(ANY.parse().unwrap(), settings).await.err().unwrap();
        assert!(error.to_string().contains(&dimensions.to_string()), "{error}");
    }
}

#[tokio::test]
async fn an_address_in_use_is_an_error() {
    let running = start(Settings::default()).await;
    let error = Simulator::start(running.addr, Settings::default()).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}
