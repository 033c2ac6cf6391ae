//! An embeddings server that somebody else wrote, in a process of its own, by `tests/servers/servers`.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::script::{Script, Skip};
use super::unique;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/servers");

/// One server. It ends when this is dropped or when this process dies.
pub(crate) struct Server {
    name: &'static str,
    script: Script,
}

impl Server {
    /// Starts it; installs it first where it is not.
    pub(crate) fn start(name: &'static str) -> Result<Self, Skip> {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique(name));
        let mut command = Command::new(SCRIPT);
        command.args(["run", name, "--dir"]).arg(directory);
        Ok(Self { name, script: Script::start(command)? })
    }

    /// Whether it is installed.
    pub(crate) fn is_fetched(name: &str) -> bool {
        let status = Command::new(SCRIPT).args(["fetched", name]).status();
        status.is_ok_and(|status| status.success())
    }

    /// For `provider.url`.
    pub(crate) fn url(&self) -> &str {
        self.script.address()
    }

    /// The path of a file of its model.
    pub(crate) fn model_file(&self, file: &str) -> String {
        let folder = String::from_utf8(self.run("model", b"")).expect("the script writes UTF-8");
        format!("{}/{file}", folder.trim())
    }

    /// The vectors of these texts by its own library, each text alone, without HTTP.
    pub(crate) fn vectors(&self, texts: &[String]) -> Vec<Vec<f32>> {
        let texts = serde_json::to_vec(texts).expect("texts are JSON");
        // A number that was one in single precision is the same one again.
        serde_json::from_slice(&self.run("ask", &texts)).expect("the script answers in JSON")
    }

    fn run(&self, verb: &str, input: &[u8]) -> Vec<u8> {
        let mut command = Command::new(SCRIPT);
        command.args([verb, self.name]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("the script ran before");
        let mut stdin = process.stdin.take().expect("stdin is piped");
        // It reads all before it writes anything.
        stdin.write_all(input).expect("the script reads its input");
        drop(stdin);
        let output = process.wait_with_output().expect("it is our child");
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}
