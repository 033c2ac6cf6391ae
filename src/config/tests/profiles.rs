use super::*;

/// What a profile sets, as a line.
fn effective(name: &str) -> String {
    let url = if ["azure", "tei", "vllm", "ollama", "infinity", "llamacpp", "custom"].contains(&name) {
        ", url: http://host:1/v1"
    } else {
        ""
    };
    let config = load(&format!("provider: {{profile: {name}{url}}}"), &[]).unwrap();
    let Config { provider, batch, .. } = config;
    format!(
        "{} {} {} {} {} {} {} {}",
        provider.url,
        batch.max_records,
        batch.max_tokens,
        batch.max_bytes,
        provider.context_tokens,
        provider.key_header,
        provider.response_cache,
        provider.usd_per_million_tokens
    )
}

#[test]
fn every_profile_sets_what_is_known() {
    let table = [
        ("openrouter", "https://openrouter.ai/api/v1 64 32768 1MiB 32768 authorization true 0.02"),
        ("openai", "https://api.openai.com/v1 128 32768 1MiB 8192 authorization false 0"),
        ("azure", "http://host:1/v1 128 32768 1MiB 8192 api-key false 0"),
        ("tei", "http://host:1/v1 32 16384 1MiB 32768 authorization false 0"),
        ("vllm", "http://host:1/v1 64 32768 1MiB 32768 authorization false 0"),
        ("ollama", "http://host:1/v1 64 32768 1MiB 32768 authorization false 0"),
        ("infinity", "http://host:1/v1 128 32768 1MiB 32768 authorization false 0"),
        ("llamacpp", "http://host:1/v1 64 32768 1MiB 512 authorization false 0"),
        ("siliconflow", "https://api.siliconflow.cn/v1 64 32768 1MiB 32768 authorization false 0"),
        ("mistral", "https://api.mistral.ai/v1 128 16384 1MiB 32768 authorization false 0"),
        ("voyage", "https://api.voyageai.com/v1 128 32768 1MiB 32768 authorization false 0"),
        ("jina", "https://api.jina.ai/v1 128 32768 1MiB 32768 authorization false 0"),
        ("deepinfra", "https://api.deepinfra.com/v1/openai 128 32768 1MiB 32768 authorization false 0.02"),
        (
            "dashscope",
            "https://dashscope.aliyuncs.com/compatible-mode/v1 10 32768 1MiB 32768 authorization false 0",
        ),
        ("cohere", "https://api.cohere.ai/compatibility/v1 96 32768 1MiB 32768 authorization false 0"),
        (
            "gemini",
            "https://generativelanguage.googleapis.com/v1beta/openai 100 32768 1MiB 2048 authorization false 0",
        ),
        ("custom", "http://host:1/v1 64 32768 1MiB 32768 authorization false 0.02"),
    ];
    for (name, expected) in table {
        assert_eq!(effective(name), expected, "{name}");
    }
    assert_eq!(table.map(|(name, _)| name), profile::PROFILES.map(|profile| profile.name));
}

#[test]
fn what_is_written_comes_before_the_profile() {
    let yaml =
        "provider: {profile: tei, url: 'http://tei:80', usd_per_million_tokens: 1}\nbatch: {max_records: 48}";
    let config = load(yaml, &[("EMBEDSTREAM__BATCH__MAX_TOKENS", "9000")]).unwrap();
    assert_eq!((config.batch.max_records, config.batch.max_tokens), (48, 9000));
    assert_eq!((config.provider.usd_per_million_tokens, config.provider.url.as_str()), (1.0, "http://tei/"));
    // The environment's profile comes before the file's, and a profile's own address before the defaults'.
    let config = load("provider: {profile: tei}", &[("EMBEDSTREAM__PROVIDER__PROFILE", "mistral")]).unwrap();
    assert_eq!(config.provider.url.as_str(), "https://api.mistral.ai/v1");
    assert_eq!((config.batch.max_records, config.batch.max_tokens), (128, 16_384));
}

#[test]
fn a_profile_without_an_address_demands_one() {
    assert_eq!(
        error("provider: {profile: tei}", &[]),
        "provider.url: is not set, and provider.profile: tei has no address of its own; write for example http://localhost:8080/v1 (line 1)"
    );
    let from_variable = error("", &[("EMBEDSTREAM__PROVIDER__PROFILE", "azure")]);
    assert!(from_variable.ends_with("(EMBEDSTREAM__PROVIDER__PROFILE)"), "{from_variable}");
    let unknown = error("provider: {profile: opnai}", &[]);
    assert!(unknown.contains("did you mean openai?") && !unknown.contains("provider.url"), "{unknown}");
}

#[test]
fn a_problem_with_a_profiles_value_names_the_profile() {
    let message = error("provider: {profile: mistral}\nlimits: {tokens: 1000/min}", &[]);
    assert_eq!(
        message,
        "batch.max_tokens: 16384 is more than one period of limits.tokens: 1000/min lets through; such a batch could never be sent (profile mistral)"
    );
}

#[test]
fn azure_has_its_own_ways() {
    let azure = |rest: &str| format!("provider: {{profile: azure, url: 'https://x/v1?api-version=1'{rest}}}");
    assert!(load(&azure(""), &[]).is_ok());
    assert!(load(&azure(", api_version: 1"), &[]).is_ok());
    assert_eq!(
        error(&azure(", api_version: 2024-10-21"), &[]),
        r#"provider.api_version: "2024-10-21" contradicts provider.url: its api-version is "1" (line 1)"#
    );
    assert!(error("provider: {api_version: 'a&b'}", &[]).contains("is not a version such as"));
    for (name, expected) in [("a b", "is not a header's name"), ("Host", "the worker writes itself")] {
        let message = error(&format!("provider: {{key_header: {name}}}"), &[]);
        assert!(message.starts_with("provider.key_header: ") && message.contains(expected), "{message}");
    }
}

#[test]
fn openrouters_key_is_for_openrouter() {
    let key = |yaml: &str| {
        let config = load(yaml, &[("OPENROUTER_API_KEY", "sk-or-1")]).unwrap();
        config.provider.read_key().unwrap().is_some()
    };
    assert!(key("") && key("provider: {profile: custom, url: 'http://localhost/v1'}"));
    assert!(!key("provider: {profile: mistral}") && !key("provider: {profile: tei, url: 'http://tei'}"));
    let missing = |profile: &str| {
        let variables = [("EMBEDSTREAM__PROVIDER__PROFILE", profile), ("OPENROUTER_API_KEY", "sk-or-1")];
        Config::load(None, variables.into_iter()).map(|_| ()).map_err(|error| error.to_string())
    };
    let message = missing("mistral").unwrap_err();
    assert!(message.starts_with("api.mistral.ai needs a key: "), "{message}");
    assert!(!message.contains("OPENROUTER_API_KEY"), "{message}");
}

#[test]
fn openrouters_routing_is_checked() {
    let routed = |routing: &str| load(&format!("provider: {{body: {{provider: {routing}}}}}"), &[]);
    let good = "{order: [deepinfra], only: [a, b], ignore: [c/fp8], allow_fallbacks: false, require_parameters: true, \
                data_collection: deny, zdr: true, enforce_distillable_text: false, quantizations: [bf16, unknown], \
                sort: {by: price, partition: none}, max_price: {prompt: '0.02', completion: 0}, \
                preferred_min_throughput: 50, preferred_max_latency: {p90: 2}}";
    assert!(routed(good).is_ok(), "{:?}", routed(good));
    assert!(routed("{sort: throughput, order: null}").is_ok());
    for (routing, expected) in [
        ("{oder: [a]}", "did you mean order?"),
        ("{only: deepinfra}", "provider.body.provider.only: is a list of names"),
        ("{only: ['']}", "provider.body.provider.only: is a list of names"),
        ("{allow_fallbacks: 'no'}", "provider.body.provider.allow_fallbacks: is true or false"),
        ("{data_collection: denny}", "did you mean deny?"),
        ("{quantizations: [bf61]}", "provider.body.provider.quantizations: \"bf61\" is not one of int4"),
        ("{quantizations: bf16}", "is a list"),
        ("{sort: prize}", "did you mean price?"),
        ("{sort: {by: latency, partion: x}}", "did you mean partition?"),
        ("{sort: 3}", "is one of price, throughput"),
        ("{max_price: {promt: 1}}", "did you mean prompt?"),
        ("{max_price: {prompt: -1}}", "provider.body.provider.max_price.prompt: is a price"),
        ("{max_price: 1}", "is a map of USD"),
        ("{preferred_max_latency: fast}", "is a number"),
        ("[a]", "provider.body.provider: is a map"),
    ] {
        let message = routed(routing).unwrap_err().to_string();
        assert!(message.contains(expected), "{routing}: {message}");
    }
    let beside = load("provider: {body: {provder: {only: [a]}}}", &[]).unwrap_err().to_string();
    assert!(beside.contains("provider.body.provder: is no field of OpenRouter's"), "{beside}");
    assert!(load("provider: {body: {user: me, input_type: query}}", &[]).is_ok());
    // Another server's field of the same name is its own business.
    assert!(load("provider: {profile: custom, url: 'http://x', body: {provider: {a: 1}}}", &[]).is_ok());
}

#[test]
fn parameters_that_are_sent_are_required_of_the_upstream() {
    let body = |yaml: &str| serde_json::to_string(&load(yaml, &[]).unwrap().provider.body).unwrap();
    assert_eq!(body("provider: {shorten: remote}"), r#"{"provider":{"require_parameters":true}}"#);
    assert_eq!(
        body("provider: {body: {input_type: document, provider: {only: [a]}}}"),
        r#"{"input_type":"document","provider":{"only":["a"],"require_parameters":true}}"#
    );
    let own = r#"{"provider":{"require_parameters":false}}"#;
    assert_eq!(body("provider: {shorten: remote, body: {provider: {require_parameters: false}}}"), own);
    assert_eq!(body("provider: {shorten: local}"), "{}");
    assert_eq!(body("provider: {shorten: remote, profile: custom, url: 'http://x'}"), "{}");
}
