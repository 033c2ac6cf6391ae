//! A real Apache Kafka in a process of its own, by `tests/kafka/kafka`.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::{eventually, unique};

/// The jars may have to be fetched first.
const START: Duration = Duration::from_secs(300);
const STOP: Duration = Duration::from_secs(30);

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/kafka");

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
        writeln!(std::io::stderr(), "skipped: {test}: {self}").expect("stderr can be written");
    }
}

/// One broker. It ends, and its records with it, when this is dropped or when this process dies: the script holds the
/// other end of a pipe and waits for nothing but its closing. (Statics are not dropped, and a killed process drops nothing.)
pub(crate) struct Node {
    address: String,
    directory: PathBuf,
    script: Child,
    lifeline: Option<ChildStdin>,
}

impl Node {
    /// Starts a broker with records of its own; each of `settings` is one more `key=value` of Kafka's.
    pub(crate) fn start(settings: &[&str]) -> Result<Self, Skip> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique("kafka"));
        let mut command = Command::new(SCRIPT);
        command.arg("run").arg("--dir").arg(&directory);
        for setting in settings {
            command.arg("--set").arg(setting);
        }
        let mut script = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| Skip(format!("{SCRIPT} does not run: {error}")))?;
        let lifeline = script.stdin.take();
        let mut errors = script.stderr.take().expect("stderr is piped");
        let output = script.stdout.take().expect("stdout is piped");
        let mut node = Self { address: String::new(), directory, script, lifeline };
        match first_line(output) {
            Some(address) => node.address = address,
            None => {
                node.end();
                let mut why = String::new();
                errors.read_to_string(&mut why).expect("the script writes UTF-8");
                return Err(Skip(why.trim().to_owned()));
            }
        }
        Ok(node)
    }

    /// `host:port`, the same over restarts.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Ends the broker as a power cut would.
    pub(crate) fn kill(&self) {
        self.call("kill");
    }

    /// Starts it again after [`Self::kill`], on the same address with the same records; returns when it answers.
    pub(crate) fn restart(&self) {
        self.call("restart");
    }

    fn call(&self, verb: &str) {
        let output = Command::new(SCRIPT)
            .arg(verb)
            .arg("--dir")
            .arg(&self.directory)
            .stdin(Stdio::null())
            .output()
            .expect("the script ran before");
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn end(&mut self) {
        self.lifeline = None;
        let script = &mut self.script;
        eventually(STOP, "the broker's script ends", || script.try_wait().expect("it is our child"));
    }
}

impl Drop for Node {
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
