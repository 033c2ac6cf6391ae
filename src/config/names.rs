//! Every name that a configuration may hold, and the nearest one to a name it may not.

use ::config::{Map, Value, ValueKind};

use super::problem::Problem;

/// What may stand at a place of the configuration.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Known {
    /// Named settings, in the order of their definition.
    Section(Vec<(String, Self)>),
    /// Any names.
    Map,
    /// A list of text.
    List,
    /// One value.
    Scalar,
}

impl Known {
    /// Reads the names off the defaults: an empty map is one that is free to be filled.
    pub(super) fn of(defaults: &serde_json::Value) -> Self {
        match defaults {
            serde_json::Value::Object(map) if map.is_empty() => Self::Map,
            serde_json::Value::Object(map) => {
                Self::Section(map.iter().map(|(name, value)| (name.clone(), Self::of(value))).collect())
            }
            serde_json::Value::Array(_) => Self::List,
            _ => Self::Scalar,
        }
    }

    /// The paths of every leaf, such as `batch.linger`.
    pub(super) fn paths(&self) -> Vec<String> {
        match self {
            Self::Section(settings) => settings
                .iter()
                .flat_map(|(name, known)| match known {
                    Self::Section(_) => known.paths().iter().map(|path| format!("{name}.{path}")).collect(),
                    _ => vec![name.clone()],
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// What a name of this section stands for.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Section(settings) => {
                settings.iter().find(|(known, _)| known == name).map(|(_, known)| known)
            }
            _ => None,
        }
    }
}

/// The known name that is nearest to what was written, if one is near enough to be meant.
pub(super) fn nearest<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let bound = (written.chars().count() / 3).max(2);
    known
        .map(|name| (strsim::damerau_levenshtein(written, name), name))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The path of the setting that is nearest to an unknown one: nearly the same path, a sibling, the same name in another section, or the
/// likest of all.
pub(super) fn nearest_path(written: &str, root: &Known) -> String {
    let paths = root.paths();
    let distance = |path: &&String| strsim::damerau_levenshtein(written, path);
    if let Some(same) = paths.iter().filter(|path| distance(path) <= 2).min_by_key(distance) {
        return same.clone();
    }
    let (section, name) = written.rsplit_once('.').unwrap_or(("", written));
    let siblings =
        section.split('.').filter(|part| !part.is_empty()).try_fold(root, |known, part| known.get(part));
    if let Some(Known::Section(siblings)) = siblings
        && let Some(near) = nearest(name, siblings.iter().map(|(name, _)| name.as_str()))
    {
        return if section.is_empty() { near.to_owned() } else { format!("{section}.{near}") };
    }
    if let Some(elsewhere) = paths.iter().find(|path| path.rsplit('.').next() == Some(name)) {
        return elsewhere.clone();
    }
    let likeness = |path: &&String| strsim::normalized_damerau_levenshtein(written, path);
    paths.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).cloned().unwrap_or_default()
}

/// Takes out of one layer what is unknown or nothing, and says what was unknown.
///
/// What is left can be merged and read by type: sections are tables, and librdkafka's dotted names are whole.
pub(super) fn inspect(layer: &mut Map<String, Value>, root: &Known) -> Vec<Problem> {
    let mut problems = Vec::new();
    inspect_section(layer, root, root, "", &mut problems);
    problems.sort_by(|a, b| a.key.cmp(&b.key));
    problems
}

fn inspect_section(
    table: &mut Map<String, Value>,
    section: &Known,
    root: &Known,
    path: &str,
    problems: &mut Vec<Problem>,
) {
    table.retain(|name, value| {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let Some(known) = section.get(name) else {
            problems.push(unknown(&path, root).at(value.origin()));
            return false;
        };
        if matches!(value.kind, ValueKind::Nil) {
            return false;
        }
        let problem = match (known, &mut value.kind) {
            (Known::Section(_), ValueKind::Table(table)) => {
                inspect_section(table, known, root, &path, problems);
                return true;
            }
            (Known::Map, ValueKind::Table(map)) => {
                if path.starts_with("kafka.") {
                    *map = flat(map);
                }
                if path != "provider.body" {
                    map.retain(|_, value| !matches!(value.kind, ValueKind::Nil));
                }
                return true;
            }
            (Known::Section(_), _) => Problem::with(&path, "is a section; write its settings below it"),
            (Known::Map, _) => Problem::with(&path, "is a map; write for example {\"name\": \"value\"}"),
            (Known::List, ValueKind::Table(_)) => {
                Problem::with(&path, "is a list, not a map; write for example [\"a\", \"b\"]")
            }
            (Known::Scalar, ValueKind::Table(_)) => Problem::with(&path, "is one value, not a map"),
            (Known::List | Known::Scalar, _) => return true,
        };
        problems.push(problem.at(value.origin()));
        false
    });
}

fn unknown(path: &str, root: &Known) -> Problem {
    let near = nearest_path(path, root);
    let message = if near == path {
        // Only a dotted name at the root can be equal and yet unknown.
        format!("unknown setting `{path}`: names are nested, not dotted")
    } else {
        format!("unknown setting `{path}`, did you mean `{near}`?")
    };
    Problem { key: path.to_owned(), message, origin: None }
}

/// librdkafka's names have dots, which TOML (and some people) read as nesting.
fn flat(map: &Map<String, Value>) -> Map<String, Value> {
    let mut flattened = Map::new();
    for (name, value) in map {
        match &value.kind {
            ValueKind::Table(inner) => {
                flattened
                    .extend(flat(inner).into_iter().map(|(rest, value)| (format!("{name}.{rest}"), value)));
            }
            _ => {
                flattened.insert(name.clone(), value.clone());
            }
        }
    }
    flattened
}
