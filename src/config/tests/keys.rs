use std::fs;

use super::*;

fn key_of(yaml: &str, variables: &[(&str, &str)]) -> Result<Option<String>, ConfigError> {
    let key = load(yaml, variables)?.provider.read_key()?;
    Ok(key.map(|key| key.expose().to_owned()))
}

#[test]
fn the_variable_comes_before_the_file_before_openrouters() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    fs::write(&path, "\u{feff} from-file \r\n").unwrap();
    let yaml = format!("provider: {{api_key_file: {}}}", path.display());
    let openrouter = ("OPENROUTER_API_KEY", " from-openrouter\n");
    let ours = ("EMBEDSTREAM__PROVIDER__API_KEY", "from-variable\n");
    let empty = ("EMBEDSTREAM__PROVIDER__API_KEY", "");
    let some = |key: &str| Some(key.to_owned());
    assert_eq!(key_of(&yaml, &[openrouter, ours]).unwrap(), some("from-variable"));
    assert_eq!(key_of(&yaml, &[openrouter, empty]).unwrap(), some("from-file"));
    assert_eq!(key_of("", &[openrouter]).unwrap(), some("from-openrouter"));
    assert_eq!(key_of("provider: {api_key_file: ''}", &[openrouter]).unwrap(), some("from-openrouter"));
    assert_eq!(key_of("provider: {api_key: 42}", &[openrouter]).unwrap(), some("42"));
    assert_eq!(key_of("", &[("OPENROUTER_API_KEY", " ")]).unwrap(), None);
}

#[test]
fn a_rotated_file_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let provider = Provider { api_key_file: Some(path.clone()), ..Provider::default() };
    assert!(provider.read_key().unwrap_err().to_string().contains("key cannot be read: "));
    for (written, expected) in [("one", "one"), ("two\n", "two")] {
        fs::write(&path, written).unwrap();
        assert_eq!(provider.read_key().unwrap().unwrap().expose(), expected);
    }
    fs::write(&path, " \n").unwrap();
    assert!(provider.read_key().unwrap_err().to_string().ends_with("key is empty; it must hold the key"));
    fs::write(&path, "x".repeat(20_000)).unwrap();
    assert!(provider.read_key().unwrap_err().to_string().ends_with("so it is no key"));
    fs::write(&path, b"\xff\xfe").unwrap();
    assert!(provider.read_key().unwrap_err().to_string().ends_with("not UTF-8"));
}

#[test]
fn a_key_that_cannot_be_one_is_refused_unquoted() {
    for (key, what) in [
        ("sk-a\nsk-b", "more than one line"),
        ("sk-a\u{7}", "a control character"),
        ("sk-a b", "a space"),
        ("sk-ä", "a character that is not ASCII"),
    ] {
        let error = key_of("", &[("OPENROUTER_API_KEY", key)]).unwrap_err().to_string();
        assert!(error.starts_with(&format!("the key from OPENROUTER_API_KEY holds {what};")), "{error}");
        assert!(!error.contains("sk-"), "{error}");
    }
}

#[test]
fn only_openrouter_insists_on_a_key() {
    let none = || std::iter::empty::<(String, String)>();
    let error = Config::load(None, none()).unwrap_err().to_string();
    for part in
        ["openrouter.ai", "EMBEDSTREAM__PROVIDER__API_KEY", "provider.api_key_file", " OPENROUTER_API_KEY"]
    {
        assert!(error.contains(part), "{error}");
    }
    for url in ["http://127.0.0.1:8080/v1", "http://tei.embeddings.svc", "https://openrouter.ai.example.com"]
    {
        let variable = [("EMBEDSTREAM__PROVIDER__URL", url)];
        let config = Config::load(None, variable.into_iter()).unwrap();
        assert_eq!(config.provider.read_key().unwrap(), None);
    }
    let by_header = [("EMBEDSTREAM__PROVIDER__HEADERS__AUTHORIZATION", "Bearer x")];
    assert!(Config::load(None, by_header.into_iter()).is_ok());
    let missing = [("EMBEDSTREAM__PROVIDER__API_KEY_FILE", "/nowhere/key")];
    let error = Config::load(None, missing.into_iter()).unwrap_err().to_string();
    assert!(error.starts_with("provider.api_key_file: /nowhere/key cannot be read: "), "{error}");
    // A pipe would be waited for without end.
    let error = key_of("provider: {api_key_file: /dev/null}", &[]).unwrap_err().to_string();
    assert!(error.ends_with("/dev/null cannot be read: it is no regular file"), "{error}");
}
