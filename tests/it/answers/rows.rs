//! The table's rows, as they are written in `rows.txt`.

use embedstream::simulator::Profile;

/// What the worker shall do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Expect {
    /// Nothing out of the ordinary.
    #[default]
    Fine,
    /// Send again.
    Retried,
    /// Send less at once: records, tokens or bytes.
    Shrunk(String),
    /// Find the poison, with this reason.
    Dead(String),
    /// Wait until it is over, with this reason.
    Suspended(String),
}

/// A row.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    pub(super) name: String,
    /// The fault script.
    pub(super) faults: String,
    pub(super) expect: Expect,
    /// Reasons for which it may be suspended on the way.
    pub(super) also: Vec<String>,
    /// How many records are poison.
    pub(super) poison: usize,
    /// Words of each text, beyond its title.
    pub(super) words: usize,
    pub(super) profile: Profile,
    /// The vectors may be others than those of the texts.
    pub(super) unchecked: bool,
    /// Settings of the worker.
    pub(super) environment: Vec<(String, String)>,
}

/// Reads the table: a line `== name | word word…`, then the fault script.
pub(super) fn read() -> Vec<Row> {
    include_str!("rows.txt").split("\n== ").skip(1).map(row).collect()
}

fn row(text: &str) -> Row {
    let (head, faults) = text.split_once('\n').expect("a script after the head");
    let (name, words) = head.split_once(" | ").expect("what is expected after the name");
    let mut row = Row { name: name.trim().to_owned(), faults: faults.to_owned(), ..Row::default() };
    for word in words.split_whitespace() {
        match word.split_once('=') {
            None if word == "fine" => row.expect = Expect::Fine,
            None if word == "unchecked" => row.unchecked = true,
            None if word == "retried" => row.expect = Expect::Retried,
            Some(("shrunk", limit)) => row.expect = Expect::Shrunk(limit.to_owned()),
            Some(("dead", reason)) => {
                row.expect = Expect::Dead(reason.to_owned());
                row.poison = row.poison.max(1);
            }
            Some(("suspended", reason)) => row.expect = Expect::Suspended(reason.to_owned()),
            Some(("also", reason)) => row.also.push(reason.to_owned()),
            Some(("poison", count)) => row.poison = count.parse().expect("a number"),
            Some(("words", count)) => row.words = count.parse().expect("a number"),
            Some(("profile", name)) => row.profile = name.parse().expect("a profile"),
            Some((name, value)) if name.starts_with("EMBEDSTREAM__") => {
                row.environment.push((name.to_owned(), value.to_owned()));
            }
            _ => panic!("{word} in row {name}"),
        }
    }
    row
}
