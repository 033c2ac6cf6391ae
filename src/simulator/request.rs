//! A request, read as strictly as the server that is simulated reads it.

use serde::Deserialize;
use serde_json::Value;

use crate::domain::tokens::Tokenizer;

use super::profile::{Dimensions, TooLong, Traits};
use super::shape::Problem;

/// A request that is fine.
#[derive(Debug, PartialEq)]
pub(super) struct Request {
    pub(super) model: String,
    pub(super) inputs: Vec<String>,
    pub(super) base64: bool,
    /// The length asked for, not above the native one.
    pub(super) dimensions: Option<usize>,
    /// What is billed for all inputs.
    pub(super) tokens: u64,
}

/// The fields we look at.
#[derive(Deserialize)]
struct Raw {
    model: Option<String>,
    input: Option<Input>,
    encoding_format: Option<String>,
    dimensions: Option<Value>,
    /// What the server may not know.
    #[serde(flatten)]
    others: serde_json::Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Many(Vec<String>),
    One(String),
    Other(Value),
}

impl Request {
    /// Reads a body as a server of this kind, and counts its tokens: CPU work.
    pub(super) fn read(body: &[u8], native: usize, traits: &Traits) -> Result<Self, Problem> {
        if body.len() > traits.most_bytes {
            return Err(Problem::Body);
        }
        let raw: Raw = serde_json::from_slice(body).map_err(|error| {
            Problem::Request(format!(
                "We could not parse the JSON body of your request (line {}, column {}).",
                error.line(),
                error.column()
            ))
        })?;
        if let Some(name) = raw.others.keys().find(|name| traits.strict && *name != "user") {
            return Err(Problem::Field(name.clone()));
        }
        let model = raw.model.filter(|model| !model.is_empty());
        let model = model.or_else(|| (!traits.needs_model).then(|| super::MODEL.to_owned()));
        let model = model.ok_or_else(|| Problem::Request("you must provide a model parameter".into()))?;
        let inputs = inputs(raw.input, traits)?;
        let base64 = match raw.encoding_format.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => return Err(Problem::Encoding),
        };
        let dimensions = raw.dimensions.filter(|asked| !asked.is_null());
        let dimensions =
            dimensions.map(|asked| length(&asked, native, traits.dimensions)).transpose()?.flatten();
        let (inputs, tokens) = measured(inputs, traits)?;
        Ok(Self { model, inputs, base64, dimensions, tokens })
    }
}

fn inputs(input: Option<Input>, traits: &Traits) -> Result<Vec<String>, Problem> {
    let inputs = match input {
        None => return Err(Problem::Request("'input' is a required property".into())),
        Some(Input::One(text)) => vec![text],
        Some(Input::Many(texts)) => texts,
        Some(Input::Other(value)) => {
            let numbers =
                value.as_array().is_some_and(|list| list.iter().any(|v| v.is_number() || v.is_array()));
            return Err(if numbers { Problem::TokenIds } else { Problem::Blank });
        }
    };
    let blank = |text: &String| text.trim().is_empty();
    if inputs.is_empty() || (!traits.takes_blank && inputs.iter().any(blank)) {
        return Err(Problem::Blank);
    }
    if inputs.len() > traits.most_inputs {
        return Err(Problem::Inputs { given: inputs.len(), most: traits.most_inputs });
    }
    Ok(inputs)
}

/// The length of the vectors; `None` is the native one.
fn length(asked: &Value, native: usize, taken: Dimensions) -> Result<Option<usize>, Problem> {
    match taken {
        Dimensions::Ignored => return Ok(None),
        Dimensions::Refused => return Err(Problem::NotMatryoshka),
        Dimensions::Listed(list) if !asked.as_u64().is_some_and(|asked| list.contains(&asked)) => {
            return Err(Problem::Dimensions(native));
        }
        Dimensions::Listed(_) | Dimensions::Taken => {}
    }
    let asked = asked.as_u64().and_then(|asked| usize::try_from(asked).ok());
    let fits = asked.filter(|asked| (1..=native).contains(asked));
    fits.map(Some).ok_or(Problem::Dimensions(native))
}

/// The texts as they will be embedded, and what they cost.
fn measured(mut inputs: Vec<String>, traits: &Traits) -> Result<(Vec<String>, u64), Problem> {
    let mut sum = 0;
    for text in &mut inputs {
        let given = count(text);
        let most = traits.most_tokens;
        if given > most {
            if traits.too_long == TooLong::Refused {
                return Err(Problem::Tokens { given, most });
            }
            // About so many tokens: nobody counts them after us.
            let characters = text.chars().count() as u64 * most / given;
            *text = text.chars().take(usize::try_from(characters).unwrap_or(usize::MAX)).collect();
        }
        sum += given.min(most);
    }
    if sum > traits.most_tokens_in_all {
        return Err(Problem::Sum { given: sum, most: traits.most_tokens_in_all });
    }
    Ok((inputs, sum))
}

/// What is billed for one text: its tokens and the end token.
pub(super) fn count(text: &str) -> u64 {
    Tokenizer::qwen3().count(text).into()
}

/// What OpenRouter says of the model's context, in tokens.
pub(super) const CONTEXT: u64 = 32_768;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::profile::Profile;
    use super::*;

    fn read(body: Value) -> Result<Request, Problem> {
        read_as(Profile::OpenRouter, body)
    }

    fn read_as(profile: Profile, body: Value) -> Result<Request, Problem> {
        Request::read(body.to_string().as_bytes(), 2560, &profile.traits())
    }

    fn message(body: Value) -> String {
        read(body).unwrap_err().words(Profile::OpenRouter).body(Profile::OpenRouter)["error"]["message"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn one_text_or_many() {
        let one = read(json!({"model": "m", "input": "hello"})).unwrap();
        assert_eq!(one.inputs, ["hello"]);
        assert!(!one.base64);
        assert_eq!(one.dimensions, None);
        assert_eq!(one.tokens, 2, "a word and the end token");
        let many = json!({"model": "m", "input": ["hello", "hello hello"], "encoding_format": "base64",
            "dimensions": 256, "user": "u", "provider": {"order": []}});
        let many = read(many).unwrap();
        assert_eq!((many.inputs.len(), many.base64, many.dimensions, many.tokens), (2, true, Some(256), 5));
        assert_eq!(read(json!({"model": "m", "input": "a", "dimensions": null})).unwrap().dimensions, None);
    }

    #[test]
    fn what_openai_refuses_is_refused() {
        for input in
            [json!([]), json!(""), json!([""]), json!(["a", " \n"]), json!(null), json!({}), json!([null])]
        {
            assert!(read(json!({"model": "m", "input": input})).is_err(), "{input}");
        }
        assert_eq!(message(json!({"model": "m"})), "'input' is a required property");
        assert!(message(json!({"input": "a"})).contains("model"));
        assert!(message(json!({"model": "m", "input": [1, 2]})).contains("token ids"));
        assert!(message(json!({"model": "m", "input": [[1], [2]]})).contains("token ids"));
        assert!(
            message(json!({"model": "m", "input": "a", "encoding_format": "bytes"}))
                .contains("encoding_format")
        );
        for dimensions in [json!(0), json!(-1), json!(2561), json!("256"), json!(1.5)] {
            let refused = read(json!({"model": "m", "input": "a", "dimensions": dimensions})).unwrap_err();
            assert_eq!(refused, Problem::Dimensions(2560));
        }
        let broken = Request::read(b"{\"model\": ", 2560, &Profile::OpenRouter.traits()).unwrap_err();
        assert!(matches!(broken, Problem::Request(words) if words.contains("could not parse the JSON")));
    }

    #[test]
    fn limits_of_a_call() {
        assert_eq!(read(json!({"model": "m", "input": vec!["a"; 2048]})).unwrap().inputs.len(), 2048);
        let refused = read(json!({"model": "m", "input": vec!["a"; 2049]})).unwrap_err();
        assert_eq!(refused, Problem::Inputs { given: 2049, most: 2048 });
        let long = "word ".repeat(32_768);
        let refused = message(json!({"model": "m", "input": ["fine", long]}));
        assert!(refused.starts_with("This model's maximum context length is 32768 tokens"), "{refused}");
    }

    #[test]
    fn servers_differ() {
        let blank = json!({"model": "m", "input": ["a", " "]});
        assert_eq!(read_as(Profile::Tei, blank.clone()), Err(Problem::Blank));
        assert_eq!(read_as(Profile::Infinity, blank).unwrap().inputs.len(), 2);
        let many = json!({"model": "m", "input": vec!["a"; 65]});
        assert!(matches!(read_as(Profile::SiliconFlow, many.clone()), Err(Problem::Inputs { most: 64, .. })));
        assert!(read_as(Profile::Vllm, many).is_ok());
        let with = |field: &str, value: Value| {
            let mut body = json!({"model": "m", "input": "a", "user": "u"});
            body[field] = value;
            body
        };
        assert_eq!(
            read_as(Profile::OpenAi, with("provider", json!({}))),
            Err(Problem::Field("provider".into()))
        );
        assert!(read_as(Profile::OpenAi, with("dimensions", json!(256))).is_ok());
        assert_eq!(read_as(Profile::Vllm, with("dimensions", json!(256))), Err(Problem::NotMatryoshka));
        assert_eq!(read_as(Profile::LlamaCpp, with("dimensions", json!(256))).unwrap().dimensions, None);
        assert!(read_as(Profile::SiliconFlow, with("dimensions", json!(300))).is_err());
        assert!(read_as(Profile::SiliconFlow, with("dimensions", json!(256))).is_ok());
        let long = json!({"model": "m", "input": "word ".repeat(40_000)});
        let cut = read_as(Profile::Tei, long.clone()).unwrap();
        assert_eq!(cut.tokens, 16_384);
        assert!(cut.inputs[0].len() < 100_000);
        assert!(matches!(read_as(Profile::LlamaCpp, long), Err(Problem::Tokens { most: 512, .. })));
        let sum = json!({"model": "m", "input": vec!["word ".repeat(5_000); 4]});
        assert!(matches!(read_as(Profile::Mistral, sum), Err(Problem::Sum { most: 16_384, .. })));
    }
}
