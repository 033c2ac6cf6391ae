mod dialect;
mod lengths;
mod server;

use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::Notify;

use self::server::{GOOD, Reply, Server, good, gzip, http};
use super::*;
use crate::config::{Encoding, Provider, Secret};
use crate::domain::record::RejectReason;
use crate::provider::{Attempts, CallOutcome, SuspendReason, Verdict};

const KEY: &str = "sk-test-abcdefgh";

fn provider(url: &str) -> Provider {
    let set = |mut settings: Provider| {
        settings.url = url.parse().unwrap();
        settings.model = "m".to_owned();
        settings.dimensions = 4;
        settings.timeout = Duration::from_secs(20);
        settings.connect_timeout = Duration::from_secs(5);
        settings
    };
    set(Provider::default())
}

fn key(key: &str) -> Option<Secret> {
    Some(Secret::new(key.to_owned()))
}

fn with_key(
    settings: &Provider,
    read: impl Fn() -> Option<Secret> + Send + Sync + 'static,
) -> Result<Client, ClientError> {
    Client::new(settings, move || Ok::<_, KeyError>(read()), 1, Duration::from_secs(60))
}

fn client(settings: &Provider) -> Client {
    with_key(settings, || key(KEY)).unwrap()
}

async fn fails(reply: Reply) -> Failure {
    let server = Server::with([reply]).await;
    let client = client(&provider(&server.url()));
    client.send(client.body(&["t"])).await.expect_err("no complete answer")
}

fn meanwhile(failure: &Failure) -> SuspendReason {
    match failure.verdict {
        Verdict::Retry { meanwhile, .. } => meanwhile,
        Verdict::Suspend { why, .. } => why,
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_call_sends_what_the_settings_say_and_reads_the_answer() {
    let server = Server::with([good()]).await;
    let mut settings = provider(&format!("http://{}/openai/v1/?api-version=2024-10-21", server.address));
    settings.headers.insert("X-Title".to_owned(), "embedstream".to_owned());
    settings.body.insert("user".to_owned(), "u".into());
    let client = client(&settings);
    let answer = client.send(client.body(&["hello"])).await.unwrap();
    let embeddings = client.read(&answer, 1).unwrap();
    assert_eq!((embeddings.vectors, embeddings.tokens), (vec![vec![1.0, 0.0, 0.0, 0.0]], Some(3)));
    let seen = server.seen().remove(0);
    let version = env!("CARGO_PKG_VERSION");
    for part in [
        "POST /openai/v1/embeddings?api-version=2024-10-21 HTTP/1.1",
        "authorization: Bearer sk-test-abcdefgh",
        "content-type: application/json",
        "x-title: embedstream",
        "accept-encoding: gzip",
        &format!("user-agent: embedstream/{version}"),
        r#"{"encoding_format":"base64","model":"m","user":"u","input":["hello"]}"#,
        "x-openrouter-cache: true",
    ] {
        assert!(seen.contains(part), "{part} in {seen}");
    }
}

#[tokio::test]
async fn without_a_key_none_is_sent_and_headers_may_bring_their_own() {
    let server = Server::with([good(), good()]).await;
    let mut settings = provider(&server.url());
    let plain = with_key(&settings, || None).unwrap();
    plain.send(plain.body(&["t"])).await.unwrap();
    settings.headers.insert("Authorization".to_owned(), "Basic abc".to_owned());
    let own = client(&settings);
    own.send(own.body(&["t"])).await.unwrap();
    let seen = server.seen();
    assert!(!seen[0].contains("authorization"));
    assert!(seen[1].contains("authorization: Basic abc") && !seen[1].contains(KEY));
}

#[tokio::test]
async fn a_redirect_is_not_followed_and_the_key_stays() {
    let other = Server::with([good()]).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("location: http://{}/v1/embeddings\r\n", other.address);
        let server = Server::with([Reply::Bytes(http(status, &location, b""))]).await;
        let client = client(&provider(&server.url()));
        let answer = client.send(client.body(&["t"])).await.unwrap();
        let failure = client.read(&answer, 1).unwrap_err();
        let stop = Verdict::Suspend { why: SuspendReason::Redirect, fatal_at_start: true };
        assert_eq!((failure.verdict, failure.status), (stop, Some(status)));
    }
    assert_eq!(other.seen(), Vec::<String>::new());
}

#[tokio::test]
async fn an_error_answer_is_complete_and_classified_when_read() {
    let body = br#"{"error":{"message":"slow down","code":429}}"#;
    let server = Server::with([Reply::Bytes(http(429, "Retry-After: 7\r\n", body))]).await;
    let client = client(&provider(&server.url()));
    let answer = client.send(client.body(&["t"])).await.unwrap();
    let failure = client.read(&answer, 1).unwrap_err();
    assert_eq!(failure.outcome, CallOutcome::RateLimited);
    assert!(matches!(failure.verdict, Verdict::Retry { after: Some(after), .. } if after.as_secs() == 7));
}

#[tokio::test]
async fn a_cut_answer_is_no_answer() {
    let length = b"HTTP/1.1 200 OK\r\ncontent-length: 9999\r\n\r\n{\"data\":[".to_vec();
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\n{\"data\":[\r\n".to_vec();
    let headers = b"HTTP/1.1 200 OK\r\ncontent-le".to_vec();
    for bytes in [length, chunked, headers, Vec::new()] {
        let failure = fails(Reply::Last(bytes)).await;
        assert_eq!(
            (failure.outcome, meanwhile(&failure)),
            (CallOutcome::Connect, SuspendReason::Unreachable)
        );
    }
}

#[tokio::test]
async fn compression_is_undone_and_its_errors_are_told() {
    let packed = gzip(GOOD.as_bytes());
    let server = Server::with([Reply::Bytes(http(200, "content-encoding: gzip\r\n", &packed))]).await;
    let whole = client(&provider(&server.url()));
    let answer = whole.send(whole.body(&["t"])).await.unwrap();
    assert_eq!(answer.body, GOOD);
    // Cut inside the compression with an honest length, and no compression at all.
    for bytes in [&packed[..packed.len() / 2], GOOD.as_bytes()] {
        let failure = fails(Reply::Bytes(http(200, "content-encoding: gzip\r\n", bytes))).await;
        assert_eq!(failure.outcome, CallOutcome::InvalidResponse, "{failure:?}");
        assert_eq!(meanwhile(&failure), SuspendReason::MalformedResponse);
    }
    // Cut by the connection's end.
    let half = http(200, "content-encoding: gzip\r\n", &packed);
    let failure = fails(Reply::Last(half[..half.len() - 10].to_vec())).await;
    assert!(matches!(failure.verdict, Verdict::Retry { attempts: Attempts::Configured, .. }), "{failure:?}");
}

#[tokio::test]
async fn an_answer_beyond_the_cap_is_not_read() {
    let cap = 4096 * 25 + (1 << 20);
    let told = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", cap + 1).into_bytes();
    let mut chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for _ in 0..20 {
        chunked.extend_from_slice(b"10000\r\n");
        chunked.extend(std::iter::repeat_n(b' ', 0x10000));
        chunked.extend_from_slice(b"\r\n");
    }
    let bomb = http(200, "content-encoding: gzip\r\n", &gzip(&vec![b' '; 50 << 20]));
    for bytes in [told, chunked, bomb] {
        let server = Server::with([Reply::Bytes(bytes)]).await;
        let client = client(&provider(&server.url()));
        let lost = client.call(client.body(&["t"]), true).await.expect_err("too large");
        assert_eq!(lost, Lost::TooLarge(cap));
    }
    let failure = triage::lost(Lost::TooLarge(cap));
    let Verdict::Retry { then, attempts, .. } = failure.verdict else { panic!("a retry") };
    assert_eq!((then, attempts), (RejectReason::MalformedResponse, Attempts::Few(3)));
}

#[tokio::test]
async fn the_total_timeout_covers_silence_and_trickle() {
    for reply in [Reply::Trickle, Reply::Silence(Arc::default())] {
        let server = Server::with([reply]).await;
        let mut settings = provider(&server.url());
        settings.timeout = Duration::from_millis(200);
        let client = client(&settings);
        let started = tokio::time::Instant::now();
        let failure = client.send(client.body(&["t"])).await.unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!((failure.outcome, meanwhile(&failure)), (CallOutcome::Timeout, SuspendReason::Timeout));
        assert_eq!(failure.message, "no answer within 200ms");
    }
}

#[tokio::test]
async fn an_answer_that_stops_is_given_up_before_its_deadline() {
    let server = Server::with([Reply::Stall]).await;
    let mut client = client(&provider(&server.url()));
    assert!(client.stalled < Provider::default().timeout);
    client.stalled = Duration::from_millis(100);
    let failure = client.send(client.body(&["t"])).await.unwrap_err();
    assert_eq!((failure.outcome, meanwhile(&failure)), (CallOutcome::Timeout, SuspendReason::Timeout));
    assert_eq!(failure.message, "the answer stopped for 100ms");
}

#[tokio::test]
async fn dropping_a_call_cancels_its_request() {
    let gone = Arc::new(Notify::new());
    let server = Server::with([Reply::Silence(Arc::clone(&gone))]).await;
    let client = client(&provider(&server.url()));
    let call = client.send(client.body(&["t"]));
    assert!(tokio::time::timeout(Duration::from_millis(100), call).await.is_err());
    tokio::time::timeout(Duration::from_secs(10), gone.notified()).await.expect("the connection is closed");
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    for url in [format!("http://{address}/v1"), "http://embedstream.invalid/v1".to_owned()] {
        let client = client(&provider(&url));
        let failure = client.send(client.body(&["t"])).await.unwrap_err();
        assert_eq!(
            (failure.outcome, meanwhile(&failure)),
            (CallOutcome::Connect, SuspendReason::Unreachable)
        );
        assert!(matches!(failure.verdict, Verdict::Retry { .. }), "it may come back: {failure:?}");
    }
}

#[tokio::test]
async fn a_head_beyond_reason_is_refused() {
    // With the content-length of the answer itself: 100 headers and 101.
    let server = Server::with([Reply::Last(http(200, &"x: y\r\n".repeat(99), GOOD.as_bytes()))]).await;
    let client = client(&provider(&server.url()));
    assert!(client.send(client.body(&["t"])).await.is_ok());
    let many = "x: y\r\n".repeat(100);
    let failure = fails(Reply::Last(http(200, &many, GOOD.as_bytes()))).await;
    assert_eq!(failure.outcome, CallOutcome::InvalidResponse);
    assert_eq!(failure.message, "an answer with too many headers");
    let endless = format!("x: {}\r\n", "y".repeat(2 << 20));
    let failure = fails(Reply::Bytes(http(200, &endless, GOOD.as_bytes()))).await;
    assert_eq!(failure.outcome, CallOutcome::InvalidResponse);
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_stops_the_start() {
    use openssl::ssl::{SslAcceptor, SslMethod};
    let (certificate, key) = self_signed();
    let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls_server()).unwrap();
    acceptor.set_certificate(&certificate).unwrap();
    acceptor.set_private_key(&key).unwrap();
    let acceptor = acceptor.build();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/v1", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || acceptor.accept(listener.accept().unwrap().0).is_err());
    let client = client(&provider(&url));
    let failure = client.send(client.body(&["t"])).await.unwrap_err();
    let stop = Verdict::Suspend { why: SuspendReason::Unreachable, fatal_at_start: true };
    assert_eq!((failure.verdict, failure.outcome), (stop, CallOutcome::Connect));
    assert!(server.join().unwrap());
}

fn self_signed() -> (openssl::x509::X509, openssl::pkey::PKey<openssl::pkey::Private>) {
    use openssl::{asn1, ec, hash, nid, pkey, x509};
    let group = ec::EcGroup::from_curve_name(nid::Nid::X9_62_PRIME256V1).unwrap();
    let key = pkey::PKey::from_ec_key(ec::EcKey::generate(&group).unwrap()).unwrap();
    let mut name = x509::X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "127.0.0.1").unwrap();
    let name = name.build();
    let mut certificate = x509::X509Builder::new().unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate.set_not_before(&asn1::Asn1Time::days_from_now(0).unwrap()).unwrap();
    certificate.set_not_after(&asn1::Asn1Time::days_from_now(1).unwrap()).unwrap();
    certificate.sign(&key, hash::MessageDigest::sha256()).unwrap();
    (certificate.build(), key)
}

#[tokio::test]
async fn a_refused_encoding_is_left_out_for_the_run() {
    let refusal = br#"{"error":{"message":"encoding_format is not supported","code":400}}"#;
    let server = Server::with([Reply::Bytes(http(400, "", refusal)), good(), good(), good()]).await;
    let client = client(&provider(&server.url()));
    let early = client.body(&["t"]);
    let answer = client.send(early.clone()).await.unwrap();
    assert!(client.read(&answer, 1).is_ok());
    client.send(client.body(&["t"])).await.unwrap();
    client.send(early).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 4);
    assert!(seen[0].contains("base64"));
    assert!(seen[1..].iter().all(|request| !request.contains("encoding_format")));
}

#[tokio::test]
async fn an_encoding_that_is_asked_for_stays() {
    let refusal = br#"{"error":{"message":"encoding_format is not supported","code":400}}"#;
    for encoding in [Encoding::Base64, Encoding::Float] {
        let server = Server::with([Reply::Bytes(http(400, "", refusal))]).await;
        let mut settings = provider(&server.url());
        settings.encoding = encoding;
        let client = client(&settings);
        let answer = client.send(client.body(&["t"])).await.unwrap();
        let why = SuspendReason::BadRequest;
        let verdict = Verdict::Suspend { why, fatal_at_start: false };
        assert_eq!(client.read(&answer, 1).unwrap_err().verdict, verdict);
    }
}

#[tokio::test]
async fn a_rotated_key_is_taken_up_and_a_broken_one_is_not() {
    let server = Server::with((0..4).map(|_| good())).await;
    let source = Arc::new(Mutex::new(Ok(key("first-key\n"))));
    let reads = Arc::clone(&source);
    let read = move || reads.lock().unwrap().clone();
    let client = Client::new(&provider(&server.url()), read, 1, Duration::from_secs(60)).unwrap();
    client.send(client.body(&["t"])).await.unwrap();
    *source.lock().unwrap() = Ok(key("  second-key\r\n"));
    client.send(client.body(&["t"])).await.unwrap();
    client.refresh_key();
    client.send(client.body(&["t"])).await.unwrap();
    for broken in [Ok(key("bad\nkey")), Ok(key("")), Ok(None), Err("no such file")] {
        *source.lock().unwrap() = broken;
        client.refresh_key();
    }
    client.send(client.body(&["t"])).await.unwrap();
    let sent = |request: &String| {
        request.lines().find_map(|line| line.strip_prefix("authorization: ")).map(str::to_owned)
    };
    let keys: Vec<_> = server.seen().iter().filter_map(sent).collect();
    assert_eq!(keys, ["Bearer first-key", "Bearer first-key", "Bearer second-key", "Bearer second-key"]);
}

#[test]
fn nothing_shows_the_key() {
    let mut settings = provider("https://user:password@host.example:8443/v1?api-version=1");
    settings.headers.insert("api-key".to_owned(), "header-secret".to_owned());
    let client = client(&settings);
    let shown = format!("{client:?} {:?} {:?} {}", client.keyring, client.headers, client.address());
    for secret in [KEY, "password", "header-secret"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert_eq!(client.address(), "https://host.example:8443/v1/embeddings");
    let echo = format!(r#"{{"error":{{"message":"{KEY}","code":"{KEY}"}}}}"#);
    for status in [400, 401, 429, 500] {
        let answer = Answer { status, headers: Vec::new(), body: echo.clone().into() };
        let message = client.read(&answer, 1).unwrap_err().message;
        assert!(!message.contains(KEY), "{message}");
    }
}

#[test]
fn settings_that_cannot_be_sent_are_refused() {
    let refused = |change: &dyn Fn(&mut Provider)| {
        let mut settings = provider("http://host/v1");
        change(&mut settings);
        with_key(&settings, || key(KEY)).expect_err("refused").to_string()
    };
    for name in ["a b", "Host", "Content-Length", ""] {
        let message = refused(&|settings| drop(settings.headers.insert(name.to_owned(), "x".to_owned())));
        assert!(message.contains("provider.headers"), "{message}");
    }
    let message =
        refused(&|settings| drop(settings.headers.insert("x".to_owned(), "secret\nvalue".to_owned())));
    assert_eq!(message, r#"provider.headers: the value of "x" cannot be sent in a header"#);
    for field in wire::RESERVED {
        let message = refused(&|settings| drop(settings.body.insert(field.to_owned(), 1.into())));
        assert!(message.contains(field), "{message}");
    }
    let settings = provider("http://host/v1");
    for bad in ["line\nbreak", "", " \n"] {
        let message = with_key(&settings, move || key(bad)).expect_err("refused").to_string();
        assert_eq!(message, "the API key is empty or cannot be sent in a header");
    }
    let failing = || Err("the file is gone");
    let message = Client::new(&settings, failing, 1, Duration::ZERO).expect_err("refused").to_string();
    assert_eq!(message, "the file is gone");
}

#[test]
fn addresses_get_the_path_and_keep_the_query() {
    for (url, expected) in [
        ("https://openrouter.ai/api/v1", "https://openrouter.ai/api/v1/embeddings"),
        ("https://openrouter.ai/api/v1/", "https://openrouter.ai/api/v1/embeddings"),
        ("http://tei:8080", "http://tei:8080/embeddings"),
        (
            "https://x/openai/deployments/d?api-version=1",
            "https://x/openai/deployments/d/embeddings?api-version=1",
        ),
        ("https://x/v1/embeddings", "https://x/v1/embeddings"),
        ("https://x/v1#top", "https://x/v1/embeddings"),
    ] {
        assert_eq!(address(url).unwrap().as_str(), expected);
    }
    for url in ["ftp://host/v1", "host/v1", "", "http://", "mailto:x@y", "unix:/tmp/x"] {
        assert!(matches!(address(url), Err(ClientError::Url)), "{url}");
    }
}

#[tokio::test]
async fn calls_share_connections() {
    let server = Server::with((0..3).map(|_| good())).await;
    let client = client(&provider(&server.url()));
    for _ in 0..3 {
        client.send(client.body(&["t"])).await.unwrap();
    }
    assert_eq!((server.seen().len(), server.connections.load(Relaxed)), (3, 1));
}
