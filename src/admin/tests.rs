use reqwest::Method;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

struct Served {
    admin: Admin,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    client: reqwest::Client,
}

async fn served() -> Served {
    let (metrics, health) = (Arc::new(Metrics::new("g", "m")), Arc::new(Health::new()));
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let admin = Admin::start(any, Arc::clone(&metrics), Arc::clone(&health)).await.expect("a free port");
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    Served { admin, metrics, health, client }
}

impl Served {
    async fn call(&self, method: Method, path: &str) -> (u16, header::HeaderMap, String) {
        let url = format!("http://{}{path}", self.admin.addr());
        let response = self.client.request(method, url).send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        (status, headers, response.text().await.expect("a body"))
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let (status, _, body) = self.call(Method::GET, path).await;
        (status, body)
    }

    async fn json(&self, path: &str) -> (u16, Value) {
        let (status, headers, body) = self.call(Method::GET, path).await;
        assert_eq!(headers["content-type"], "application/json");
        (status, serde_json::from_str(&body).expect("JSON"))
    }
}

#[tokio::test]
async fn metrics_are_prometheus_text() {
    let served = served().await;
    served.metrics.results_stale_total.inc_by(3);
    let (status, headers, body) = served.call(Method::GET, "/metrics").await;
    assert_eq!(status, 200);
    assert!(headers["content-type"].to_str().expect("text").starts_with("text/plain; version=0.0.4"));
    assert!(body.lines().any(|line| line == "embedstream_results_stale_total 3"), "{body}");
    assert!(body.ends_with('\n'));
}

#[tokio::test]
async fn readyz_says_why_not() {
    let served = served().await;
    let (status, body) = served.json("/readyz").await;
    assert_eq!((status, &body["ready"], &body["reason"]), (503, &false.into(), &"starting".into()));
    served.health.joined();
    assert_eq!(served.get("/readyz").await, (200, r#"{"ready":true}"#.to_owned()));
    served.health.suspend(
        SuspendedBy::Provider,
        "payment_required",
        "402 from the provider".to_owned(),
        None,
    );
    let (status, body) = served.json("/readyz").await;
    assert_eq!(status, 503);
    let keys: Vec<&str> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["ready", "reason", "message", "since"]);
    assert_eq!(
        (&body["reason"], &body["message"]),
        (&"payment_required".into(), &"402 from the provider".into())
    );
    humantime::parse_rfc3339(body["since"].as_str().expect("text")).expect("RFC 3339");
}

#[tokio::test]
async fn livez_is_both_turning() {
    let served = served().await;
    served.health.beat_loop();
    served.health.beat_thread();
    let (status, body) = served.json("/livez").await;
    assert_eq!((status, &body["live"]), (200, &true.into()));
    assert!(body["loop_age_seconds"].is_f64() && body["thread_age_seconds"].is_f64());
}

#[tokio::test]
async fn status_holds_state_and_figures() {
    let served = served().await;
    let (_, starting) = served.json("/status").await;
    assert_eq!((&starting["state"], &starting["suspended"]), (&"starting".into(), &Value::Null));
    served.health.joined();
    served.health.set(|told| {
        told.partitions = vec![Partition {
            topic: "in".to_owned(),
            partition: 2,
            position: Some(10),
            committed: Some(8),
            lag: None,
        }];
    });
    served.health.failed("timeout");
    served.metrics.records_consumed_total.with_label_values(&["in"]).inc_by(10);
    served.metrics.buffered_records.set(2);
    let (status, running) = served.json("/status").await;
    assert_eq!(status, 200);
    for (pointer, expected) in [
        ("/status_version", 1.into()),
        ("/version", env!("CARGO_PKG_VERSION").into()),
        ("/state", "running".into()),
        ("/ready", true.into()),
        ("/group", "g".into()),
        ("/model", "m".into()),
        ("/partitions/0/topic", "in".into()),
        ("/partitions/0/partition", 2.into()),
        ("/partitions/0/position", 10.into()),
        ("/partitions/0/committed", 8.into()),
        ("/partitions/0/lag", Value::Null),
        ("/buffered/records", 2.into()),
        ("/calls_in_flight", 0.into()),
        ("/totals/records_consumed", 10.into()),
        ("/totals/cost_usd", 0.0.into()),
        ("/last_error/class", "timeout".into()),
        ("/last_error/count", 1.into()),
    ] {
        assert_eq!(running.pointer(pointer), Some(&expected), "{pointer} in {running}");
    }
    served.health.suspend(
        SuspendedBy::Provider,
        "unreachable",
        "no route".to_owned(),
        Some(tokio::time::Instant::now()),
    );
    let (status, suspended) = served.json("/status").await;
    assert_eq!((status, &suspended["state"]), (200, &"suspended".into()));
    let keys: Vec<&str> =
        suspended["suspended"].as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, ["reason", "message", "since", "next_probe"]);
    served.health.draining();
    let (_, draining) = served.json("/status").await;
    assert_eq!((&draining["state"], &draining["reason"]), (&"draining".into(), &"draining".into()));
}

#[tokio::test]
async fn only_get_and_head_and_only_what_is_there() {
    let served = served().await;
    for path in ["/", "/metrics", "/livez", "/readyz", "/status"] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
            let (status, headers, _) = served.call(method, path).await;
            assert_eq!((status, &headers["allow"]), (405, &"GET,HEAD".parse().expect("a value")), "{path}");
        }
        let (status, headers, body) = served.call(Method::GET, path).await;
        assert_ne!(body, "");
        assert_eq!(
            (&headers["cache-control"], &headers["x-content-type-options"]),
            (&"no-store".parse().expect("a value"), &"nosniff".parse().expect("a value"))
        );
        let (head_status, head_headers, head_body) = served.call(Method::HEAD, path).await;
        assert_eq!((head_status, head_body.as_str()), (status, ""), "{path}");
        assert_eq!(head_headers["content-type"], headers["content-type"]);
    }
    assert_eq!(served.get("/debug").await.0, 404);
    assert_eq!(served.get("/metrics/").await.0, 404);
    let (_, page) = served.get("/").await;
    for path in ["metrics", "livez", "readyz", "status"] {
        assert!(page.contains(&format!("href=\"{path}\"")), "{page}");
    }
}

#[tokio::test]
async fn hung_clients_shut_nobody_out_and_do_not_delay_the_end() {
    let served = served().await;
    let mut hung = Vec::new();
    for _ in 0..CONNECTIONS + 8 {
        let mut client = TcpStream::connect(served.admin.addr()).await.expect("a connection");
        client.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n").await.expect("sent");
        hung.push(client);
    }
    assert_eq!(served.get("/readyz").await.0, 503, "the newest is served");
    let mut first = hung.remove(0);
    let mut rest = Vec::new();
    // Closed, or reset because of what it had sent: either way it is over.
    first.read_to_end(&mut rest).await.unwrap_or_default();
    assert!(rest.is_empty());

    let addr = served.admin.addr();
    tokio::time::timeout(Duration::from_secs(5), served.admin.stop()).await.expect("it waits for nobody");
    assert!(TcpStream::connect(addr).await.is_err(), "the address is free");
    let mut last = hung.pop().expect("one is left");
    last.read_to_end(&mut rest).await.unwrap_or_default();
    assert!(rest.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_is_cut_off() {
    let (metrics, health) = (Arc::new(Metrics::new("g", "m")), Arc::new(Health::new()));
    let any: SocketAddr = ([127, 0, 0, 1], 0).into();
    let admin = Admin::start(any, metrics, health).await.expect("a free port");
    let mut client = TcpStream::connect(admin.addr()).await.expect("a connection");
    client.write_all(b"GET /metr").await.expect("sent");
    let before = tokio::time::Instant::now();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap_or_default();
    assert!(rest.is_empty());
    let took = before.elapsed();
    assert!(
        took >= CONNECTION_TIMEOUT - Duration::from_secs(1) && took <= CONNECTION_TIMEOUT * 2,
        "{took:?}"
    );
}

#[tokio::test]
async fn an_endless_head_is_refused() {
    let served = served().await;
    let mut client = TcpStream::connect(served.admin.addr()).await.expect("a connection");
    client.write_all(b"GET /metrics HTTP/1.1\r\nX: ").await.expect("sent");
    let line = vec![b'a'; 4 * BUFFER];
    // The server may hang up before all of it is sent.
    client.write_all(&line).await.unwrap_or_default();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap_or_default();
    let answer = String::from_utf8(answer).expect("text");
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(served.get("/readyz").await.0, 503, "others are served");
}

#[tokio::test]
async fn one_request_a_connection() {
    let served = served().await;
    let mut client = TcpStream::connect(served.admin.addr()).await.expect("a connection");
    client.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.expect("closed after the answer");
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let served = served().await;
    let again =
        Admin::start(served.admin.addr(), Arc::clone(&served.metrics), Arc::clone(&served.health)).await;
    let error = again.expect_err("in use");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    assert!(error.to_string().contains(&format!("admin.listen: {}", served.admin.addr())), "{error}");
}
