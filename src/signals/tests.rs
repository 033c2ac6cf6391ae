use std::env;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::{JoinHandle, LocalSet, spawn_local};

use super::*;

/// Says to the test binary, started again by a test, what to be: signals and exit codes are a process' own.
const CHILD: &str = "EMBEDSTREAM_TEST_CHILD";

/// Follows what the returned sender sends. Within a `LocalSet`, as the future of an async closure is not seen to be `Send`.
fn following(limit: Duration) -> (UnboundedSender<()>, Shutdown, JoinHandle<CutShort>) {
    let (asked, receiver) = watch::channel(0);
    let (given, limits) = watch::channel(EARLY);
    let (signal, mut signals) = unbounded_channel();
    let followed = spawn_local(async move {
        let next = async || {
            if signals.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
        };
        follow(next, asked, limits).await
    });
    let shutdown = Shutdown { asked: receiver, limit: given };
    shutdown.within(limit);
    (signal, shutdown, followed)
}

#[tokio::test(start_paused = true)]
async fn the_first_signal_asks_and_the_second_cuts_short() {
    let test = async {
        let (signal, shutdown, followed) = following(Duration::from_secs(27));
        assert!(!shutdown.is_asked());
        signal.send(()).expect("followed");
        shutdown.first().await;
        assert!(shutdown.is_asked());
        tokio::time::advance(SAME_WISH).await;
        assert!(!followed.is_finished());
        signal.send(()).expect("followed");
        assert_eq!(followed.await.expect("no panic"), CutShort::Signal);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn signals_at_once_are_one_wish() {
    let test = async {
        let (signal, shutdown, followed) = following(Duration::from_secs(27));
        let begin = Instant::now();
        for _ in 0..3 {
            signal.send(()).expect("followed");
        }
        shutdown.first().await;
        assert_eq!(followed.await.expect("no panic"), CutShort::Deadline);
        assert_eq!(begin.elapsed().as_secs(), 27);
    };
    LocalSet::new().run_until(test).await;
}

/// The settings are read after the signals are taken over.
#[tokio::test(start_paused = true)]
async fn a_limit_that_comes_later_counts_from_the_signal_on() {
    let test = async {
        let (signal, shutdown, followed) = following(Duration::from_secs(86_400));
        shutdown.limit.send_replace(EARLY);
        let begin = Instant::now();
        signal.send(()).expect("followed");
        shutdown.first().await;
        tokio::time::advance(Duration::from_secs(7)).await;
        assert!(!followed.is_finished());
        shutdown.within(Duration::from_secs(27));
        assert_eq!(followed.await.expect("no panic"), CutShort::Deadline);
        assert_eq!(begin.elapsed().as_secs(), 27);
    };
    LocalSet::new().run_until(test).await;
}

/// As where the settings come from a disk that hangs.
#[tokio::test(start_paused = true)]
async fn a_start_that_hangs_ends_all_the_same() {
    let test = async {
        let (signal, shutdown, followed) = following(EARLY);
        let begin = Instant::now();
        signal.send(()).expect("followed");
        assert_eq!(followed.await.expect("no panic"), CutShort::Deadline);
        assert_eq!(begin.elapsed(), EARLY);
        drop(shutdown);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_signal_nothing_ends() {
    let test = async {
        let (_signal, shutdown, followed) = following(Duration::from_secs(27));
        assert!(tokio::time::timeout(Duration::from_secs(86_400), shutdown.first()).await.is_err());
        assert!(!followed.is_finished());
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test(start_paused = true)]
async fn by_hand_it_asks_everybody_who_waits() {
    let (shutdown, trigger) = Shutdown::by_hand();
    let other = shutdown.clone();
    let waiting = tokio::spawn(async move { other.first().await });
    trigger.ask();
    waiting.await.expect("no panic");
    shutdown.first().await;
    assert!(tokio::time::timeout(Duration::from_secs(60), shutdown.second()).await.is_err(), "asked once");
    trigger.ask();
    shutdown.second().await;
    drop(trigger);
    shutdown.second().await;
}

#[tokio::test(start_paused = true)]
async fn a_dropped_trigger_never_asks() {
    let (shutdown, trigger) = Shutdown::by_hand();
    drop(trigger);
    assert!(tokio::time::timeout(Duration::from_secs(60), shutdown.first()).await.is_err());
}

/// Not a test of its own: what the tests below start.
#[test]
fn child() {
    let Ok(role) = env::var(CHILD) else { return };
    match role.as_str() {
        "patient" => listen_and_hang(Duration::from_secs(3600)),
        "hasty" => listen_and_hang(Duration::from_millis(100)),
        "literal" => {
            exit_on_panic(|| false);
            panic!("a literal");
        }
        "quoting" => {
            exit_on_panic(|| false);
            let text = "text of a record";
            let panicked = thread::spawn(move || panic!("bad: {text}")).join();
            panic!("the process outlived {panicked:?}");
        }
        "caught" => {
            exit_on_panic(|| thread::current().name() == Some("catches"));
            let catches = thread::Builder::new().name("catches".to_owned());
            let caught =
                catches.spawn(|| std::panic::catch_unwind(|| panic!("an expected literal")).is_err());
            assert!(caught.expect("a thread").join().expect("it goes on"));
            println!("lives on");
            panic!("an unexpected literal");
        }
        role => panic!("no role {role}"),
    }
}

/// Drains for ever, with the runtime's only thread blocked.
fn listen_and_hang(limit: Duration) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let shutdown = Shutdown::listen().expect("signals");
    shutdown.within(limit);
    println!("listening");
    runtime.block_on(shutdown.first());
    println!("draining");
    loop {
        thread::park();
    }
}

fn start(role: &str) -> Child {
    Command::new(env::current_exe().expect("this test"))
        .args(["--exact", "signals::tests::child", "--nocapture"])
        .env(CHILD, role)
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("this test again")
}

fn send(signal: &str, child: &Child) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{signal} {}", child.id())]).status();
    assert!(sent.expect("a shell").success());
}

/// Signals once it listens; returns when it drains.
fn drain(child: &mut Child, signal: &str) {
    let stdout = child.stdout.take().expect("piped");
    for line in BufReader::new(stdout).lines() {
        match line.expect("text") {
            line if line.ends_with("listening") => send(signal, child),
            line if line.ends_with("draining") => return,
            _ => {}
        }
    }
    panic!("it never drained");
}

#[test]
fn a_second_signal_ends_a_process_that_hangs() {
    for (first, second) in [("TERM", "INT"), ("INT", "TERM")] {
        let mut child = start("patient");
        drain(&mut child, first);
        assert_eq!(child.try_wait().expect("a child"), None, "the first does not end it");
        // Repeated, because those of the first 50 ms are the same wish as the first.
        let code = loop {
            if let Some(status) = child.try_wait().expect("a child") {
                break status.code();
            }
            send(second, &child);
        };
        assert_eq!(code, Some(CUT_SHORT));
    }
}

#[test]
fn the_deadline_ends_a_process_that_hangs() {
    let mut child = start("hasty");
    drain(&mut child, "TERM");
    assert_eq!(child.wait().expect("a child").code(), Some(CUT_SHORT));
}

#[test]
fn a_panic_that_is_caught_passes_and_the_next_one_ends_the_process() {
    let ended = start("caught").wait_with_output().expect("a child");
    let (out, said) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(out.contains("lives on"), "{said}");
    assert_eq!(ended.status.code(), Some(INTERNAL));
    assert!(!said.contains("an expected literal") && said.contains("an unexpected literal"), "{said}");
}

#[test]
fn a_panic_ends_the_process_and_quotes_no_record() {
    for (role, shown, hidden) in
        [("literal", "a literal", "outlived"), ("quoting", "may quote a record", "text of a record")]
    {
        let mut child = start(role);
        assert_eq!(child.wait().expect("a child").code(), Some(INTERNAL), "{role}");
        let mut said = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
        assert!(said.contains(shown) && said.contains("signals/tests.rs"), "{said}");
        assert!(!said.contains(hidden), "{said}");
    }
}
