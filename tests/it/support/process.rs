//! The real binary in a process of its own.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::{http, within};

/// Linux counts CPU time in hundredths of a second.
const TICK: Duration = Duration::from_millis(10);

/// What a process can be told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    Term,
    Int,
    /// `kill -9`.
    Kill,
    /// Freeze, until [`Self::Continue`].
    Stop,
    Continue,
}

/// A running or ended `embedstream`. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    directory: TempDir,
}

impl Process {
    /// Starts `embedstream run` with `config` (YAML) as its file and `environment` added to ours.
    pub(crate) fn worker(config: &str, environment: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().expect("there is room for a test's files");
        let file = directory.path().join("config.yaml");
        fs::write(&file, config).expect("there is room for a test's files");
        let mut command = Command::new(env!("CARGO_BIN_EXE_embedstream"));
        command.arg("run").arg("--config").arg(file);
        Self::spawn(command, environment, directory)
    }

    /// Starts `embedstream` with any arguments.
    pub(crate) fn start(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_embedstream"));
        command.args(arguments);
        Self::spawn(command, environment, TempDir::new().expect("there is room for a test's files"))
    }

    /// Starts any program, in the same way; `directory` takes what it prints.
    pub(crate) fn spawn(mut command: Command, environment: &[(&str, &str)], directory: TempDir) -> Self {
        let create = |name: &str| File::create(directory.path().join(name)).expect("the directory is ours");
        // What the developer's shell holds is no part of a test.
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy().to_ascii_uppercase();
            if text.starts_with("EMBEDSTREAM_") || text.starts_with("OPENROUTER_") || text.ends_with("_PROXY")
            {
                command.env_remove(&name);
            }
        }
        command.envs(environment.iter().copied());
        command.stdin(Stdio::null()).stdout(create("stdout")).stderr(create("stderr"));
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, directory }
    }

    /// Where its files are: `config.yaml`, `stdout`, `stderr` and what a test puts there.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What it has printed so far.
    pub(crate) fn stdout(&self) -> String {
        self.output("stdout")
    }

    /// What it has logged so far.
    pub(crate) fn stderr(&self) -> String {
        self.output("stderr")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, `None` while it runs.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("it is our child")
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it still runs at `deadline`, with what it logged.
    #[track_caller]
    pub(crate) fn wait(&mut self, deadline: Duration) -> ExitStatus {
        match within(deadline, || self.ended()) {
            Some(status) => status,
            None => panic!("runs still after {deadline:?}; its log:\n{}", self.stderr()),
        }
    }

    /// Waits until `/readyz` on `admin` answers 200.
    ///
    /// # Panics
    /// When it ends instead, or is not ready at `deadline`; with what it logged.
    #[track_caller]
    pub(crate) fn wait_ready(&mut self, admin: SocketAddr, deadline: Duration) {
        let ready = within(deadline, || {
            if let Some(status) = self.ended() {
                panic!("ended with {status} before it was ready; its log:\n{}", self.stderr());
            }
            http::get(admin, "/readyz").ok().filter(|response| response.status == 200)
        });
        assert!(ready.is_some(), "not ready within {deadline:?}; its log:\n{}", self.stderr());
    }

    /// Sends a signal. Nothing happens when it has ended.
    pub(crate) fn signal(&mut self, signal: Signal) {
        // Until its end is seen here, its pid is nobody else's.
        if self.ended().is_some() {
            return;
        }
        let name = match signal {
            Signal::Term => "TERM",
            Signal::Int => "INT",
            Signal::Kill => "KILL",
            Signal::Stop => "STOP",
            Signal::Continue => "CONT",
        };
        // Every shell has `kill`; a program of that name is not on every machine.
        let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.pid())).status();
        assert!(status.expect("there is a shell").success(), "kill -{name} {}", self.pid());
    }

    /// The most memory it has had resident so far, in bytes.
    pub(crate) fn peak_resident_bytes(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells it");
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("Linux tells it in kB");
        kibibytes * 1024
    }

    /// The CPU time it has used so far, on all cores together.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = self.proc("stat");
        // The second field is the name in brackets, which may hold spaces; user and system are the 14th and 15th.
        let (_, rest) = stat.rsplit_once(')').expect("Linux puts the name in brackets");
        let ticks =
            rest.split_whitespace().skip(11).take(2).map(|field| field.parse::<u32>().expect("a number"));
        TICK * ticks.sum::<u32>()
    }

    fn output(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.directory().join(name)).expect("it was created")).into_owned()
    }

    fn proc(&self, name: &str) -> String {
        let path = PathBuf::from(format!("/proc/{}/{name}", self.pid()));
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only when it has ended.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
