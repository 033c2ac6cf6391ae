//! JSON pointers (RFC 6901) as a tree: one walk through a document finds them all.

use std::collections::BTreeMap;

/// Where several pointers lead, shared steps taken once.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps {
    /// The pointers that end here, by their place in the list.
    pub(super) ends: Vec<usize>,
    /// The steps further down, by member name or array index.
    pub(super) deeper: BTreeMap<String, Self>,
}

impl Steps {
    /// The tree of these pointers.
    pub(super) fn new<'a>(pointers: impl Iterator<Item = &'a str>) -> Self {
        let mut root = Self::default();
        for (place, pointer) in pointers.enumerate() {
            let end =
                segments(pointer).fold(&mut root, |steps, segment| steps.deeper.entry(segment).or_default());
            end.ends.push(place);
        }
        root
    }
}

/// The reference tokens of a pointer: none for `""`, the whole document. A missing first `/` is forgiven.
pub(super) fn segments(pointer: &str) -> impl Iterator<Item = String> + '_ {
    let path = (!pointer.is_empty()).then(|| pointer.strip_prefix('/').unwrap_or(pointer));
    path.into_iter()
        .flat_map(|path| path.split('/'))
        .map(|segment| segment.replace("~1", "/").replace("~0", "~"))
}

/// The name under which a pointer's field is kept: its last reference token.
pub(super) fn name(pointer: &str) -> String {
    segments(pointer).last().unwrap_or_default()
}
