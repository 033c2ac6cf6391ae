//! How the process is told to end, and how it ends when something hangs or panics.
//!
//! The first SIGTERM or SIGINT asks for a drain, the second cuts it short. Both are watched on a thread with a runtime of its own:
//! whatever the worker's threads do, the process ends with 75 at a second signal or when its time is over.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, Write as _};
use std::panic::PanicHookInfo;
use std::process;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

/// The exit code of a panic.
pub const INTERNAL: i32 = 70;

/// The exit code of a drain that was cut short.
pub const CUT_SHORT: i32 = 75;

/// What a start has that is told to end before it knows how long a drain may take.
const EARLY: Duration = Duration::from_secs(10);

/// Signals this soon after the first are the same wish: `timeout(1)` and shells signal a process and then its group.
const SAME_WISH: Duration = Duration::from_millis(50);

/// How long an exit waits for its reason to be logged.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What asks the worker to end. Clones see the same signals.
#[derive(Clone, Debug)]
pub struct Shutdown {
    asked: watch::Receiver<u8>,
    limit: watch::Sender<Duration>,
}

/// Asks by hand: in tests, and where something other than a signal ends the worker. Dropped, it never asks.
#[derive(Debug)]
pub struct Trigger {
    asked: watch::Sender<u8>,
}

/// Why a drain was cut short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CutShort {
    Signal,
    Deadline,
}

impl Shutdown {
    /// Takes over SIGTERM and SIGINT, for the rest of the process: as early as can be, since the first process of a container does not
    /// even end by a signal that it has not taken over. From now on a second signal ends the process with [`CUT_SHORT`], from a thread
    /// that waits for nothing else, and so does the end of the time that [`Self::within`] gives.
    ///
    /// # Errors
    /// The signals cannot be watched, or the thread cannot be started.
    pub fn listen() -> io::Result<Self> {
        let (asked, receiver) = watch::channel(0);
        let (limit, limits) = watch::channel(EARLY);
        let (registered, ready) = mpsc::sync_channel(1);
        thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || watch_signals(limits, asked, &registered))?;
        ready.recv().map_err(|_| io::Error::other("the thread that watches the signals has ended"))??;
        Ok(Self { asked: receiver, limit })
    }

    /// Gives the drain its time, from the first signal on (the worker's `shutdown_deadline` + 2 s).
    pub fn within(&self, limit: Duration) {
        self.limit.send_replace(limit);
    }

    /// A shutdown that no signal asks for, and what asks for it.
    pub fn by_hand() -> (Self, Trigger) {
        let (asked, receiver) = watch::channel(0);
        (Self { asked: receiver, limit: watch::Sender::new(EARLY) }, Trigger { asked })
    }

    /// Waits until the end was asked for: the worker drains.
    pub async fn first(&self) {
        self.times(1).await;
    }

    /// Waits until it was asked for again. The process that listens has exited by then; this is for those who ask by hand.
    pub async fn second(&self) {
        self.times(2).await;
    }

    /// Whether the end was asked for.
    pub fn is_asked(&self) -> bool {
        *self.asked.borrow() > 0
    }

    async fn times(&self, times: u8) {
        if self.asked.clone().wait_for(|asked| *asked >= times).await.is_err() {
            // Whoever could ask is gone: nobody ever will.
            std::future::pending().await
        }
    }
}

impl Trigger {
    /// Asks once more.
    pub fn ask(&self) {
        self.asked.send_modify(|asked| *asked = asked.saturating_add(1));
    }
}

/// The thread: registers the signals, says so, follows them, ends the process.
fn watch_signals(
    limits: watch::Receiver<Duration>,
    asked: watch::Sender<u8>,
    registered: &mpsc::SyncSender<io::Result<()>>,
) {
    let register = || {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let signals = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        drop(entered);
        Ok((runtime, signals))
    };
    let (answer, watched) = match register() {
        Ok(watched) => (Ok(()), Some(watched)),
        Err(error) => (Err(error), None),
    };
    if registered.send(answer).is_err() {
        return;
    }
    let Some((runtime, (mut terminate, mut interrupt))) = watched else { return };
    let next = async || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let why = match runtime.block_on(follow(next, asked, limits)) {
        CutShort::Signal => "a second signal cuts the drain short",
        CutShort::Deadline => "the drain has not ended within its time",
    };
    exit(CUT_SHORT, move || tracing::error!("{why}"));
}

/// Counts signals; ends when the drain has to.
async fn follow(
    mut next: impl AsyncFnMut(),
    asked: watch::Sender<u8>,
    mut limits: watch::Receiver<Duration>,
) -> CutShort {
    next().await;
    asked.send_replace(1);
    let first = Instant::now();
    let second = async {
        loop {
            next().await;
            if first.elapsed() >= SAME_WISH {
                break;
            }
        }
    };
    let over = async {
        loop {
            let limit = *limits.borrow_and_update();
            tokio::select! {
                () = tokio::time::sleep_until(first + limit) => break,
                Ok(()) = limits.changed() => {}
            }
        }
    };
    tokio::select! {
        biased;
        () = second => {
            asked.send_replace(2);
            CutShort::Signal
        }
        () = over => CutShort::Deadline,
    }
}

/// Says why on another thread and exits, said or not: the log may be what hangs.
fn exit(code: i32, say: impl FnOnce() + Send + 'static) -> ! {
    let (said, heard) = mpsc::sync_channel(1);
    let speaker = thread::Builder::new().name("last-words".to_owned()).spawn(move || {
        say();
        said.send(()).unwrap_or_default();
    });
    if speaker.is_ok() {
        heard.recv_timeout(LAST_WORDS).unwrap_or_default();
    }
    process::exit(code)
}

/// From now on a panic anywhere is logged and ends the process with [`INTERNAL`]: a worker with a dead part must not
/// look alive, and a panic in a callback of the Kafka client would otherwise hang in its destructor.
///
/// `caught` says whether the panic of this thread is one that is expected and caught: it passes, unsaid.
///
/// What a panic says is logged only if it is a literal of the program: a formatted message may quote a record's text.
pub fn exit_on_panic(caught: fn() -> bool) {
    std::panic::set_hook(Box::new(move |panic| {
        if !caught() {
            exit(INTERNAL, report(panic));
        }
    }));
}

/// What to say about a panic.
fn report(panic: &PanicHookInfo<'_>) -> impl FnOnce() + Send + 'static {
    let literal = panic.payload().downcast_ref::<&'static str>().copied();
    let message = literal.unwrap_or("(not shown: it may quote a record)");
    let at = panic.location().map_or_else(String::new, ToString::to_string);
    let thread = thread::current().name().unwrap_or("unnamed").to_owned();
    let backtrace = Backtrace::capture();
    let backtrace = match backtrace.status() {
        BacktraceStatus::Captured => backtrace.to_string(),
        _ => "RUST_BACKTRACE=1 shows it".to_owned(),
    };
    move || {
        if tracing::dispatcher::has_been_set() {
            tracing::error!(message, at, thread, backtrace, "panic: this is a bug of embedstream");
        } else {
            writeln!(io::stderr(), "panic at {at} in thread {thread}: {message}\n{backtrace}")
                .unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests;
