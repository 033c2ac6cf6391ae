use super::*;

const YAML: &str = r#"
kafka:
  client: {sasl.username: visible, sasl.password: planted-1, ssl.key.pem: planted-2, sasl.jaas.config: planted-3}
  consumer: {ssl.key.password: planted-4}
  producer: {sasl.oauthbearer.client.secret: planted-5, sasl.oauthbearer.config: planted-6}
provider:
  api_key: planted-7
  headers: {Authorization: planted-8, X-Api-Key: planted-9, X-Title: visible, X-Auth-Token: planted-10, Cookie: planted-11}
  body: {user: visible, api_key: planted-12, nested: {list: [{token: planted-13}], secret: planted-14}}
"#;

#[test]
fn no_dump_holds_a_secret() {
    let config = Config::load(
        None,
        [
            ("OPENROUTER_API_KEY", "planted-15"),
            ("EMBEDSTREAM__KAFKA__CLIENT__SSL_KEYSTORE_PASSWORD", "planted-16"),
        ]
        .into_iter(),
    )
    .unwrap();
    let file = load(YAML, &[]).unwrap();
    assert_eq!(file.provider.api_key.as_ref().unwrap().expose(), "planted-7");
    for config in [config, file] {
        for dump in [
            format!("{config:?}"),
            format!("{config:#?}"),
            format!("{:?}{:?}", config.kafka, config.provider),
            serde_json::to_string(&config).unwrap(),
        ] {
            assert!(!dump.contains("planted"), "{dump}");
            assert!(dump.contains("[redacted]"));
        }
    }
    assert!(format!("{:?}", load(YAML, &[]).unwrap()).matches("visible").count() >= 3);
}

#[test]
fn no_error_holds_a_secret() {
    for yaml in [
        "provider: {api_key: [planted]}",
        "provider: {api_key: {a: planted}}",
        "provider: planted",
        "kafka: planted",
        "kafka: {client: {sasl.password: [planted]}}",
        "kafka: {client: [planted]}",
        "kafka: {client: planted}",
        "provider: {headers: {authorization: [planted]}}",
        "provider: {headers: {authorization: \"planted\\n\"}}",
        "provider: {api_kye: planted}",
        "provider: {url: \"https://me:planted@example.com\"}",
        "provider: {url: \"https://planted@example.com\"}",
        "provider: {url: \"//me:planted@example.com\"}",
        "provider: {url: \"https://example.com?api-key=planted\"}",
        "kafka: {brokers: \"me:planted@host:9092\"}",
        "provider: {api_key: \"planted",
        "provider:\n  api_key: planted: x\n",
    ] {
        let error = error(yaml, &[]);
        assert!(!error.contains("planted"), "{yaml}: {error}");
    }
    for (name, value) in [
        ("EMBEDSTREAM__PROVIDER", "planted"),
        ("EMBEDSTREAM__PROVIDER", "{api_key: planted"),
        ("EMBEDSTREAM__KAFKA__CLIENT", "sasl.password=planted"),
        ("EMBEDSTREAM__PROVIDER__APIKEY", "planted"),
    ] {
        let error = error("", &[(name, value)]);
        assert!(!error.contains("planted"), "{name}: {error}");
    }
}
