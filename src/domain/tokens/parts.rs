//! Takes a raw text apart where the tokenizer cannot look across: at the added tokens, and in a long text at blanks.

/// The tokens that are added to the vocabulary (ids 151643 to 151668), matched before anything else is done to a text.
/// None holds a second `<` or is a prefix of another: a match at a `<` is the leftmost and the only one.
const ADDED: [&str; 26] = [
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<tool_response>",
    "</tool_response>",
    "<think>",
    "</think>",
];

/// From this many bytes on, a plain part ends at the next safe blank: long texts can be left off early.
const PART_BYTES: usize = 8 * 1024;

/// A stretch of a text whose tokens do not depend on what stands before or behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// One added token.
    Added(&'a str),
    /// Anything else, still to be normalised; never empty.
    Plain(&'a str),
}

/// The parts of a text, in order. Together they are the text.
pub(super) struct Parts<'a> {
    plain: &'a str,
    added: &'a str,
    rest: &'a str,
    part_bytes: usize,
}

impl<'a> Parts<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self::of_size(text, PART_BYTES)
    }

    pub(super) fn of_size(text: &'a str, part_bytes: usize) -> Self {
        Self { plain: "", added: "", rest: text, part_bytes }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        if self.plain.is_empty() && self.added.is_empty() {
            (self.plain, self.added, self.rest) = split_at_added(self.rest);
        }
        if !self.plain.is_empty() {
            let (part, later) = self.plain.split_at(safe_end(self.plain, self.part_bytes));
            self.plain = later;
            return Some(Part::Plain(part));
        }
        let added = std::mem::take(&mut self.added);
        (!added.is_empty()).then_some(Part::Added(added))
    }
}

/// What stands before the first added token, the token (empty if there is none), and what follows.
fn split_at_added(text: &str) -> (&str, &str, &str) {
    for (start, _) in text.match_indices('<') {
        let (before, from) = text.split_at(start);
        if let Some(token) = ADDED.iter().find(|token| from.starts_with(**token)) {
            let (added, rest) = from.split_at(token.len());
            return (before, added, rest);
        }
    }
    (text, "", "")
}

/// Where the first part of a plain text ends: before the first blank at or after `from` that follows a letter, a digit
/// or punctuation.
///
/// No piece of the tokenizer's split pattern holds a blank after such a character, its only look-ahead is for white
/// space, and in NFC a blank neither composes with nor moves past what is before it. So both sides are encoded as in
/// the whole.
fn safe_end(plain: &str, from: usize) -> usize {
    let from = plain.floor_char_boundary(from);
    plain[from..]
        .match_indices(' ')
        .map(|(at, _)| from + at)
        .find(|&at| plain[..at].ends_with(|c: char| c.is_alphanumeric() || c.is_ascii_punctuation()))
        .unwrap_or(plain.len())
}
