//! A request, read as strictly as OpenAI reads it.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::domain::tokens::Tokenizer;

/// More inputs than this in one call are refused, as OpenAI does.
pub(super) const MOST_INPUTS: usize = 2048;
/// More tokens than this in one input are refused: the model's context.
pub(super) const CONTEXT: u64 = 32_768;

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

/// A request that is refused: the body of a 400.
#[derive(Debug, PartialEq)]
pub(super) struct Refused {
    message: String,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

impl Refused {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), param: None, code: None }
    }

    /// OpenAI's shape.
    pub(super) fn body(&self) -> Value {
        json!({"error": {
            "message": self.message,
            "type": "invalid_request_error",
            "param": self.param,
            "code": self.code,
        }})
    }
}

/// The fields we look at. Servers ignore what they do not know; so do we.
#[derive(Deserialize)]
struct Raw {
    model: Option<String>,
    input: Option<Input>,
    encoding_format: Option<String>,
    dimensions: Option<Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Many(Vec<String>),
    One(String),
    Other(Value),
}

impl Request {
    /// Reads a body and counts its tokens: CPU work.
    pub(super) fn read(body: &[u8], native: usize) -> Result<Self, Refused> {
        let raw: Raw = serde_json::from_slice(body).map_err(|error| {
            Refused::new(format!(
                "We could not parse the JSON body of your request (line {}, column {}).",
                error.line(),
                error.column()
            ))
        })?;
        let model = raw.model.filter(|model| !model.is_empty());
        let model = model.ok_or_else(|| Refused::new("you must provide a model parameter"))?;
        let inputs = inputs(raw.input)?;
        let base64 = match raw.encoding_format.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => {
                let message = "Invalid value for 'encoding_format': it is not one of ['float', 'base64'].";
                return Err(Refused { param: Some("encoding_format"), ..Refused::new(message) });
            }
        };
        let dimensions = raw.dimensions.filter(|asked| !asked.is_null());
        let dimensions = dimensions.map(|asked| length(&asked, native)).transpose()?;
        let tokens = tokens(&inputs)?;
        Ok(Self { model, inputs, base64, dimensions, tokens })
    }
}

fn inputs(input: Option<Input>) -> Result<Vec<String>, Refused> {
    const INVALID: &str = "'$.input' is invalid. Please check the API reference: \
                           https://platform.openai.com/docs/api-reference.";
    let inputs = match input {
        None => return Err(Refused::new("'input' is a required property")),
        Some(Input::One(text)) => vec![text],
        Some(Input::Many(texts)) => texts,
        Some(Input::Other(value)) => {
            let numbers =
                value.as_array().is_some_and(|list| list.iter().any(|v| v.is_number() || v.is_array()));
            let message =
                if numbers { "'input' holds token ids: this server embeds text only." } else { INVALID };
            return Err(Refused { param: Some("input"), ..Refused::new(message) });
        }
    };
    if inputs.is_empty() || inputs.iter().any(|text| text.trim().is_empty()) {
        return Err(Refused::new(INVALID));
    }
    if inputs.len() > MOST_INPUTS {
        let message = format!(
            "Invalid 'input': array too long. Expected an array with maximum length {MOST_INPUTS}, but instead got an \
             array with length {}.",
            inputs.len()
        );
        return Err(Refused { param: Some("input"), code: Some("array_above_max_length"), message });
    }
    Ok(inputs)
}

fn length(asked: &Value, native: usize) -> Result<usize, Refused> {
    let asked = asked.as_u64().and_then(|asked| usize::try_from(asked).ok());
    asked.filter(|asked| (1..=native).contains(asked)).ok_or_else(|| Refused {
        param: Some("dimensions"),
        ..Refused::new(format!("Invalid value for 'dimensions': it is not between 1 and {native}."))
    })
}

fn tokens(inputs: &[String]) -> Result<u64, Refused> {
    let mut sum = 0;
    for text in inputs {
        let count = count(text);
        if count > CONTEXT {
            return Err(Refused::new(format!(
                "This model's maximum context length is {CONTEXT} tokens, however you requested {count} tokens \
                 ({count} in your prompt; 0 for the completion). Please reduce your prompt; or completion length."
            )));
        }
        sum += count;
    }
    Ok(sum)
}

/// What is billed for one text: its tokens and the end token.
pub(super) fn count(text: &str) -> u64 {
    Tokenizer::qwen3().count(text).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: Value) -> Result<Request, Refused> {
        Request::read(body.to_string().as_bytes(), 2560)
    }

    fn message(body: Value) -> String {
        read(body).unwrap_err().message
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
            assert_eq!(refused.param, Some("dimensions"));
        }
        let broken = Request::read(b"{\"model\": ", 2560).unwrap_err();
        assert!(broken.message.contains("could not parse the JSON"));
    }

    #[test]
    fn limits_of_a_call() {
        assert_eq!(read(json!({"model": "m", "input": vec!["a"; 2048]})).unwrap().inputs.len(), 2048);
        let refused = read(json!({"model": "m", "input": vec!["a"; 2049]})).unwrap_err();
        assert_eq!(refused.code, Some("array_above_max_length"));
        assert!(refused.message.contains("2048") && refused.message.contains("2049"));
        let long = "word ".repeat(32_768);
        let refused = message(json!({"model": "m", "input": ["fine", long]}));
        assert!(refused.starts_with("This model's maximum context length is 32768 tokens"), "{refused}");
    }

    #[test]
    fn a_refusal_has_openais_shape() {
        let body = read(json!({"model": "m", "input": []})).unwrap_err().body();
        assert_eq!(body["error"]["type"], "invalid_request_error");
        assert!(body["error"]["code"].is_null());
        assert!(body["error"]["message"].as_str().unwrap().contains("'$.input' is invalid"));
    }
}
