//! One walk through a document, down the steps of the wanted pointers only.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::kind;
use crate::input::pointer::Steps;

/// A step's name in the settings, and where it leads.
type Step<'s> = (&'s str, &'s Steps);

/// Puts what each pointer leads to in its place of `found`; what is not there stays `None`.
///
/// # Errors
/// Invalid JSON, or a wanted member that is there twice.
pub(super) fn find<'a>(
    document: &'a str,
    steps: &Steps,
    found: &mut [Option<&'a RawValue>],
) -> Result<(), String> {
    // The syntax of the whole comes first, so that its line and column are the document's.
    let root: &RawValue = serde_json::from_str(document).map_err(|error| invalid(&error))?;
    if steps.ends.is_empty() && !root.get().starts_with(['{', '[']) {
        return Err(format!("the JSON value is {}, not an object", kind(root.get())));
    }
    descend(root, steps, found)
}

/// As deep as the deepest pointer of the settings, whatever the document.
fn descend<'a>(value: &'a RawValue, steps: &Steps, found: &mut [Option<&'a RawValue>]) -> Result<(), String> {
    for &end in &steps.ends {
        found[end] = Some(value);
    }
    if steps.deeper.is_empty() {
        return Ok(());
    }
    let mut parser = serde_json::Deserializer::from_str(value.get());
    let wanted = match value.get().as_bytes().first() {
        Some(b'{') => parser.deserialize_map(Members(steps)),
        Some(b'[') => parser.deserialize_seq(Elements(steps)),
        _ => return Ok(()),
    };
    let wanted = wanted.map_err(|error| invalid(&error))?;
    for (place, (step, value)) in wanted.iter().enumerate() {
        if wanted[..place].iter().any(|(earlier, _)| earlier.0 == step.0) {
            return Err(format!("the JSON value holds the member {:?} twice", step.0));
        }
        descend(value, step.1, found)?;
    }
    Ok(())
}

/// The parser's words for a syntax error hold none of the document. (An error of type would, but nothing here asks for
/// a type that the first character has not shown.)
fn invalid(error: &serde_json::Error) -> String {
    if error.is_data() {
        return format!("value is not valid JSON at line {} column {}", error.line(), error.column());
    }
    format!("value is not valid JSON: {error}")
}

/// Takes an object's wanted members, in their order, duplicates included.
struct Members<'s>(&'s Steps);

impl<'de, 's> Visitor<'de> for Members<'s> {
    type Value = Vec<(Step<'s>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut wanted = Vec::new();
        while let Some(step) = members.next_key_seed(Name(self.0))? {
            match step {
                Some(step) => wanted.push((step, members.next_value()?)),
                None => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(wanted)
    }
}

/// A member's name, compared without being copied.
struct Name<'s>(&'s Steps);

impl<'de, 's> DeserializeSeed<'de> for Name<'s> {
    type Value = Option<Step<'s>>;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Self::Value, D::Error> {
        parser.deserialize_str(self)
    }
}

impl<'s> Visitor<'_> for Name<'s> {
    type Value = Option<Step<'s>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.deeper.get_key_value(name).map(|(name, steps)| (name.as_str(), steps)))
    }
}

/// Takes an array's wanted elements.
struct Elements<'s>(&'s Steps);

impl<'de, 's> Visitor<'de> for Elements<'s> {
    type Value = Vec<(Step<'s>, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        // RFC 6901 knows an index without leading zeros only.
        let index = |name: &str| name.parse::<usize>().ok().filter(|index| index.to_string() == name);
        let mut steps: BTreeMap<usize, Step<'s>> = self
            .0
            .deeper
            .iter()
            .filter_map(|(name, steps)| Some((index(name)?, (name.as_str(), steps))))
            .collect();
        let mut wanted = Vec::new();
        for at in 0_usize.. {
            let is_over = match steps.remove(&at) {
                Some(step) => elements.next_element()?.map(|value| wanted.push((step, value))).is_none(),
                None => elements.next_element::<IgnoredAny>()?.is_none(),
            };
            if is_over {
                break;
            }
        }
        Ok(wanted)
    }
}
