//! A real Apache Kafka in a process of its own, by `tests/kafka/kafka`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::script::{Script, Skip};
use super::unique;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kafka/kafka");

/// One broker. It ends, and its records with it, when this is dropped or when this process dies.
pub(crate) struct Node {
    script: Script,
    directory: PathBuf,
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
        Ok(Self { script: Script::start(command)?, directory })
    }

    /// `host:port`, the same over restarts.
    pub(crate) fn address(&self) -> &str {
        self.script.address()
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
}
