//! What a script starts and keeps alive: `tests/kafka/kafka run`, `tests/servers/servers run`.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::eventually;

/// What it needs may have to be fetched first.
const START: Duration = Duration::from_secs(300);
const STOP: Duration = Duration::from_secs(30);

/// Why a test cannot run on this machine.
#[derive(Clone, Debug)]
pub(crate) struct Skip(pub(crate) String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Skip {
    /// Says that `test` is skipped, past the harness's capture: a skip is never silent.
    ///
    /// # Panics
    /// With `EMBEDSTREAM_REQUIRE_ALL=1`, where nothing may be skipped.
    pub(crate) fn report(&self, test: &str) {
        assert!(
            std::env::var("EMBEDSTREAM_REQUIRE_ALL").as_deref() != Ok("1"),
            "EMBEDSTREAM_REQUIRE_ALL is set, and {test} cannot run: {self}"
        );
        self.say(test);
    }

    /// Says that `test` is skipped, and no more: for what may be left out everywhere.
    pub(crate) fn say(&self, test: &str) {
        writeln!(std::io::stderr(), "skipped: {test}: {self}").expect("stderr can be written");
    }
}

/// It ends, and what it started with it, when this is dropped or when this process dies: the script holds the other end of a pipe and
/// waits for nothing but its closing. (Statics are not dropped, and a killed process drops nothing.)
pub(crate) struct Script {
    address: String,
    process: Child,
    lifeline: Option<ChildStdin>,
}

impl Script {
    /// Runs it until it prints the address of what it started.
    pub(crate) fn start(mut command: Command) -> Result<Self, Skip> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(|error| {
            Skip(format!("{} does not run: {error}", command.get_program().to_string_lossy()))
        })?;
        let lifeline = process.stdin.take();
        let mut errors = process.stderr.take().expect("stderr is piped");
        let output = process.stdout.take().expect("stdout is piped");
        let mut script = Self { address: String::new(), process, lifeline };
        match first_line(output) {
            Some(address) => script.address = address,
            None => {
                script.end();
                let mut why = String::new();
                errors.read_to_string(&mut why).expect("the script writes UTF-8");
                return Err(Skip(why.trim().to_owned()));
            }
        }
        Ok(script)
    }

    /// What it printed.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    fn end(&mut self) {
        self.lifeline = None;
        let process = &mut self.process;
        eventually(STOP, "the script ends", || process.try_wait().expect("it is our child"));
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.end();
    }
}

/// The first line, or `None` when there is none, or none within [`START`].
fn first_line(output: impl Read + Send + 'static) -> Option<String> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let line = BufReader::new(output).lines().next().and_then(Result::ok);
        // Nobody listens after the deadline.
        tell.send(line).ok();
    });
    told.recv_timeout(START).ok().flatten()
}
