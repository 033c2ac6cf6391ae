//! Reads Rust as text: enough to know paths and lengths, no more.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of `src` as the rules see it.
pub(super) struct File {
    /// Below `src`.
    pub(super) name: String,
    /// Its module's path: `["kafka", "sink"]`; empty for `lib.rs`.
    pub(super) module: Vec<String>,
    /// Without comments, literals and tests; the lines stay where they were.
    pub(super) code: String,
    /// Everything of the crate that it names, from the crate's root on.
    pub(super) paths: Vec<Vec<String>>,
}

impl File {
    pub(super) fn read(name: &str, text: &str) -> Self {
        let code = without_tests(&without_comments_and_literals(text));
        let name = name.replace('\\', "/");
        let stem = name.trim_end_matches(".rs").trim_end_matches("/mod");
        let module: Vec<String> = stem.split('/').filter(|part| *part != "lib").map(str::to_owned).collect();
        let paths = paths(&code, &module);
        Self { name, module, code, paths }
    }
}

/// Every file that is not a test's.
pub(super) fn files() -> Vec<File> {
    let production = |name: &str| {
        let mut parts = name.trim_end_matches(".rs").split('/');
        !parts.any(|part| ["tests", "tidy"].contains(&part))
    };
    let texts = texts().into_iter().filter(|(name, _)| production(name));
    texts.map(|(name, text)| File::read(&name, &text)).collect()
}

/// Every file, tests too, and its lines.
pub(super) fn sizes() -> Vec<(String, usize)> {
    texts().into_iter().map(|(name, text)| (name, text.lines().count())).collect()
}

fn texts() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut texts) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).expect("src can be read");
        let paths: Vec<PathBuf> = entries.map(|entry| entry.expect("src can be read").path()).collect();
        for path in paths {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("below src").display().to_string();
                texts.push((name.replace('\\', "/"), fs::read_to_string(&path).expect("UTF-8")));
            }
        }
    }
    texts.sort();
    assert!(texts.len() > 10, "src is not where it was: {}", root.display());
    texts
}

/// Blanks comments, strings and characters; every line stays.
fn without_comments_and_literals(text: &str) -> String {
    let (mut code, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(next) = rest.chars().next() {
        let after_word =
            code.chars().next_back().is_some_and(|before| before.is_alphanumeric() || before == '_');
        let blank = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if next == '"' {
            string(rest)
        } else if let Some(length) = raw_string(rest).filter(|_| !after_word) {
            length
        } else if next == '\'' {
            character(rest)
        } else {
            0
        };
        if blank == 0 {
            code.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            code.push(' ');
            code.extend(rest[..blank].chars().filter(|skipped| *skipped == '\n'));
            rest = &rest[blank..];
        }
    }
    code
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, next) in text.char_indices().skip(1) {
        match next {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// `r"…"`, `r#"…"#`, `br#"…"#`.
fn raw_string(text: &str) -> Option<usize> {
    let inner = text.trim_start_matches(['b', 'c']);
    let hashes = inner.strip_prefix('r')?;
    let body = hashes.trim_start_matches('#');
    let end = format!("\"{}", "#".repeat(hashes.len() - body.len()));
    let length = body.strip_prefix('"')?.find(&end)?;
    Some(text.len() - body.len() + 1 + length + end.len())
}

/// A character literal; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut inner = text.char_indices().skip(1);
    match inner.next() {
        Some((_, '\\')) => {
            inner.next();
            text[2..]
                .find('\'')
                .map_or(0, |_| inner.find(|(_, next)| *next == '\'').map_or(0, |(at, _)| at + 1))
        }
        Some(_) => inner.next().filter(|(_, next)| *next == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

/// Blanks what follows `#[cfg(test)]`: up to its `;` or the end of its block.
fn without_tests(code: &str) -> String {
    let mut code = code.to_owned();
    while let Some(start) = code.find("#[cfg(test)]").or_else(|| code.find("#[test]")) {
        let rest = &code[start..];
        let end = start + item_end(rest);
        let blank: String = code[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        code.replace_range(start..end, &blank);
    }
    code
}

/// Where an item ends that may begin with attributes.
fn item_end(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, next) in text.char_indices() {
        match next {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 && next == '}' {
                    return at + 1;
                }
            }
            ';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Words and single signs; `::` is one.
fn tokens(code: &str) -> Vec<&str> {
    let (mut tokens, mut rest) = (Vec::new(), code.trim_start());
    while let Some(next) = rest.chars().next() {
        let length = if is_word(next) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            next.len_utf8()
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}

/// Every path that begins at `crate`, `super`, `self` or, in the binary, at the library's name. Modules inside the file
/// are levels too.
fn paths(code: &str, module: &[String]) -> Vec<Vec<String>> {
    let tokens = tokens(code);
    let (mut found, mut module, mut depth, mut inner) = (Vec::new(), module.to_vec(), 0_usize, Vec::new());
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| tokens[before]);
        match *token {
            "{" => {
                depth += 1;
                if at >= 2 && tokens[at - 2] == "mod" {
                    module.push(tokens[at - 1].to_owned());
                    inner.push(depth);
                }
            }
            "}" => {
                if inner.last() == Some(&depth) {
                    inner.pop();
                    module.pop();
                }
                depth = depth.saturating_sub(1);
            }
            "crate" | "super" | "self" | "embedstream"
                if before != Some("::") && tokens.get(at + 1) == Some(&"::") =>
            {
                let start = match *token {
                    "super" => module[..module.len().saturating_sub(1)].to_vec(),
                    "self" => module.clone(),
                    _ => Vec::new(),
                };
                tree(&tokens, at + 2, start, &mut found);
            }
            _ => {}
        }
    }
    found
}

/// Follows a path, or all the paths of a `{…}`; returns where it ends.
fn tree(tokens: &[&str], mut at: usize, mut path: Vec<String>, found: &mut Vec<Vec<String>>) -> usize {
    loop {
        match tokens.get(at) {
            Some(&"{") => {
                at += 1;
                while at < tokens.len() && tokens[at] != "}" {
                    at = tree(tokens, at, path.clone(), found);
                    at += usize::from(tokens.get(at) == Some(&","));
                }
                return at + 1;
            }
            Some(&"super") => {
                path.pop();
                at += 1;
            }
            Some(&"self") => at += 1,
            Some(word) if word.starts_with(is_word) => {
                path.push((*word).to_owned());
                at += 1;
            }
            // A glob, or the `<…>` of a turbofish.
            _ => {
                found.push(path);
                return at + 1;
            }
        }
        if tokens.get(at) == Some(&"as") {
            at += 2;
        }
        if tokens.get(at) != Some(&"::") {
            found.push(path);
            return at;
        }
        at += 1;
    }
}

/// Each function with a body: its name, its first line, how many lines it has.
pub(super) fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut functions = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        if code[..at].chars().next_back().is_some_and(is_word) {
            continue;
        }
        let name: String = code[at + 3..].chars().take_while(|c| is_word(*c)).collect();
        let body = &code[at..at + item_end(&code[at..])];
        if !name.is_empty() && body.ends_with('}') {
            functions.push((name, code[..at].lines().count().max(1), body.lines().count()));
        }
    }
    functions
}

#[test]
fn reads_what_rust_means() {
    let text = "let a = \"fn // x\\\"\"; let b = r#\"crate::\"quoted\"\"#; // crate::c\n/* a /* b */ c */ let c = '{'; \
        let d: &'static str; let e = '\\''; let f = b\"x\"; let g = '\\u{1F600}'; done";
    let code = without_comments_and_literals(text);
    let words: Vec<&str> = tokens(&code).into_iter().filter(|token| token.starts_with(is_word)).collect();
    let expected = "let a let b let c let d static str let e let f b let g done";
    assert_eq!(words.join(" "), expected);
    assert_eq!(code.lines().count(), 2);
}

#[test]
fn takes_tests_out_and_leaves_the_rest() {
    let text = "a();\n#[cfg(test)]\nmod tests;\nb();\n#[cfg(test)]\n#[expect(x)]\nmod t { fn f() { } }\nc();";
    let code = without_tests(text);
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a();", "b();", "c();"]);
    assert_eq!(code.lines().count(), text.lines().count());
}

#[test]
fn resolves_paths() {
    let module = ["a".to_owned(), "b".to_owned()];
    let text = "use crate::x::{self, y::{Z as W, *}, v}; use super::c::D; use super::super::q; use self::e::F;\n\
        mod inner { use super::g; } fn f() { crate::h::i::<J>(); std::self_::k(); super::l(); }";
    let found: Vec<String> = paths(text, &module).into_iter().map(|path| path.join("::")).collect();
    let expected = "x x::y::Z x::y x::v a::c::D q a::b::e::F a::b::g h::i a::l";
    assert_eq!(found.join(" "), expected);
}

#[test]
fn measures_functions() {
    let text = "fn one() {\n    two();\n}\n\ntrait T {\n    fn declared(&self, a: [u8; 3]);\n    fn given(&self) { }\n}\n";
    let found = functions(text);
    let expected = [("one".to_owned(), 1, 3), ("given".to_owned(), 7, 1)];
    assert_eq!(found, expected);
}
