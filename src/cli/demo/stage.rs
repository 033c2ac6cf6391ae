//! The stage: brokers, provider, worker and reader, and the play from the first record to the last outcome.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::Demo;
use super::feed::{Fed, Feed};
use super::opening::{admin, embed, introduce, simulate};
use super::reader::{Reader, lag};
use super::screen::Screen;
use super::settings::{self, DEAD_LETTERS, INPUT, INPUT_PARTITIONS, OUTPUT, OUTPUT_PARTITIONS};
use super::shelf::Shelf;
use super::summary::{Expected, Summary};
use crate::admin::{Admin, Health};
use crate::cli::exit::Failure;
use crate::cli::{log, run};
use crate::config::{Config, Provider};
use crate::metrics::{Metrics, Totals};
use crate::pipeline::Ended;
use crate::signals::Shutdown;
use crate::simulator::{Broker, Running, corpus};
use crate::worker::{self, StartError};

/// How often the figures are looked at.
const TICK: Duration = Duration::from_millis(20);
/// Records that may be between the input topic and the reader of the output: some times what is in flight, so that batches are
/// full, and less than the output topic keeps.
const WINDOW: u64 = 2_048;
/// The same for a model's vectors, which compress less.
const LIVE_WINDOW: u64 = 512;
/// Without any progress for so long, the simulated demo has failed.
const STALLED: Duration = Duration::from_secs(60);
/// How long the broker may take to confirm the last position, and the reader to read the last record.
const AFTERWARDS: Duration = Duration::from_secs(10);
/// Hits that are shown.
const HITS: usize = 5;

/// Everything that runs. The brokers come last: their clients are dropped before them.
struct Stage {
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    admin: Admin,
    screen: Screen,
    query: String,
    json: bool,
    live: bool,
    worker: JoinHandle<Result<Ended, StartError>>,
    stop: Option<oneshot::Sender<()>>,
    reader: Reader,
    provider: Option<Running>,
    broker: Broker,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    /// What was waited for is so.
    Done,
    /// A signal asked for the end.
    Interrupted,
}

/// Plays the demo to its end.
///
/// # Errors
/// What the stage cannot be set with, how the worker ended, and figures that contradict each other.
pub(super) async fn play(args: &Demo, live: Option<Provider>, shutdown: &Shutdown) -> Result<(), Failure> {
    let records = args.records();
    let mut stage = Stage::set(args, records, live).await?;
    let window = if stage.live { LIVE_WINDOW } else { WINDOW };
    let feed = Feed::new(stage.broker.servers(), args.rate(), window, stage.reader.read());
    let mut feed = feed.map_err(broker_failed)?;
    let fed = feed.fed();
    let joined = stage.until(shutdown, |stage| stage.health.readiness().ready).await?;
    let start = Instant::now();
    if joined == Waited::Interrupted {
        drop(feed);
        return stage.end(&fed, 0.0, true, None).await;
    }
    let feeding = tokio::spawn(async move {
        let result = feed.feed(corpus::stream(records)).await;
        (feed, result)
    });
    let all_out = |stage: &mut Stage| feeding.is_finished() && stage.all_out(&fed);
    let waited = stage.until(shutdown, all_out).await?;
    let seconds = start.elapsed().as_secs_f64();
    if waited == Waited::Interrupted {
        cut_off(feeding).await;
        return stage.end(&fed, seconds, true, None).await;
    }
    let (feed, result) = feeding.await.map_err(|_| Failure::Internal("the feed was cut off".to_owned()))?;
    result.map_err(broker_failed)?;
    if !args.linger {
        // Its client ends before the broker does.
        drop(feed);
        return stage.end(&fed, seconds, false, Some(records)).await;
    }
    stage.linger(feed, args, shutdown, (start, seconds)).await
}

impl Stage {
    async fn set(args: &Demo, records: usize, live: Option<Provider>) -> Result<Self, Failure> {
        let screen = Screen::new(records as u64, args.json);
        let topics = [(INPUT, INPUT_PARTITIONS), (OUTPUT, OUTPUT_PARTITIONS), (DEAD_LETTERS, 1)];
        let broker = Broker::start(1, &topics).map_err(broker_failed)?;
        let is_live = live.is_some();
        let (provider, url) = if is_live { (None, String::new()) } else { simulate().await? };
        let placeholder = if is_live { "http://127.0.0.1:1" } else { url.as_str() };
        let mut config = settings::simulated(broker.servers(), placeholder)?;
        if let Some(live) = live {
            config.provider = live;
        }
        log::start(&config.log)?;
        introduce(&screen, &config, records, is_live).await?;
        let client = Arc::new(run::client(&config)?);
        let vector = embed(&client, &args.query).await?;
        let reader = Reader::start(broker.servers(), Shelf::new(vector)).map_err(broker_failed)?;
        let (metrics, health) = (Arc::new(worker::metrics(&config)), Arc::new(Health::new()));
        let admin = admin(&mut config, &metrics, &health).await?;
        screen.say(&format!("  figures   http://{}/metrics, and /status", admin.addr()));
        screen.say("");
        let config = Arc::new(config);
        let (stop, stopped) = oneshot::channel::<()>();
        let worker = tokio::spawn(worker::run(
            Arc::clone(&config),
            client,
            Arc::clone(&metrics),
            Arc::clone(&health),
            worker::intake(&config)?,
            async move { stopped.await.unwrap_or_default() },
        ));
        let (query, json, stop) = (args.query.clone(), args.json, Some(stop));
        let stage = Self {
            config,
            metrics,
            health,
            admin,
            screen,
            query,
            json,
            live: is_live,
            worker,
            stop,
            reader,
            provider,
            broker,
        };
        stage.screen.say("It joins its consumer group; the embedded broker lets the first member wait 3 s.");
        Ok(stage)
    }

    /// Waits until `done`, while it shows what happens.
    async fn until(
        &mut self,
        shutdown: &Shutdown,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> Result<Waited, Failure> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut suspended, mut progress) = (None, (0, Instant::now()));
        loop {
            tokio::select! {
                biased;
                ended = &mut self.worker => {
                    worked(ended)?;
                    return Err(Failure::Internal("the worker ended by itself".to_owned()));
                }
                () = shutdown.first() => return Ok(Waited::Interrupted),
                _ = tick.tick() => {}
            }
            self.show();
            if done(self) {
                return Ok(Waited::Done);
            }
            let why = self.health.readiness().why.filter(|why| why.reason != "starting");
            if let Some(why) = &why
                && suspended.as_ref() != Some(&why.reason)
            {
                self.screen.say(&format!("  the worker waits: {}, {}", why.reason, why.message));
            }
            suspended = why.map(|why| why.reason);
            let consumed = self.totals().records_consumed + outcomes(&self.totals());
            if consumed != progress.0 {
                progress = (consumed, Instant::now());
            }
            let buffered = self.metrics.buffered_records.get() > 0;
            if !self.live && buffered && progress.1.elapsed() > STALLED {
                return Err(Failure::Internal(format!(
                    "no record got its outcome for {} s: {:?}",
                    STALLED.as_secs(),
                    self.totals()
                )));
            }
        }
    }

    fn show(&mut self) {
        let done = outcomes(&self.totals());
        let letters = self.reader.shelf().letters.clone();
        self.screen.show(done, &self.metrics, &letters);
    }

    fn totals(&self) -> Totals {
        self.metrics.figures().totals
    }

    /// Whether everything that was fed has its outcome, and the reader has seen it.
    fn all_out(&self, fed: &Fed) -> bool {
        let totals = self.totals();
        outcomes(&totals) >= fed.records() && self.all_read(&totals)
    }

    fn all_read(&self, totals: &Totals) -> bool {
        self.reader.shelf().read() >= outcomes(totals) - totals.skipped
    }

    /// Drains the worker, and tells what happened.
    async fn end(
        mut self,
        fed: &Fed,
        seconds: f64,
        interrupted: bool,
        records: Option<usize>,
    ) -> Result<(), Failure> {
        let ended = self.drain().await;
        let lag = self.committed_lag(interrupted).await?;
        let reported = self.report(fed, seconds, lag, interrupted, records);
        let Self { admin, provider, .. } = self;
        admin.stop().await;
        if let Some(provider) = provider {
            provider.stop().await;
        }
        ended.and(reported)
    }

    /// Tells what happened, and stays until a signal comes.
    async fn linger(
        mut self,
        mut feed: Feed,
        args: &Demo,
        shutdown: &Shutdown,
        (start, seconds): (Instant, f64),
    ) -> Result<(), Failure> {
        let (fed, records) = (feed.fed(), args.records());
        let lag = self.committed_lag(false).await?;
        self.report(&fed, seconds, lag, false, Some(records))?;
        self.screen
            .say(&format!("\nIt stays up until Ctrl-C: http://{}/metrics, and /status", self.admin.addr()));
        if args.rate().is_none() {
            drop(feed);
            self.until(shutdown, |_| false).await?;
            return self.drain().await;
        }
        // The same keys again: what is held does not grow for ever.
        let again = std::iter::repeat_with(move || corpus::stream(records)).flatten();
        let feeding = tokio::spawn(async move {
            let result = feed.feed(again).await;
            (feed, result)
        });
        self.until(shutdown, |_| feeding.is_finished()).await?;
        cut_off(feeding).await;
        self.end(&fed, start.elapsed().as_secs_f64(), true, None).await
    }

    /// Lets the worker drain, and the reader read what came of it.
    async fn drain(&mut self) -> Result<(), Failure> {
        if let Some(stop) = self.stop.take() {
            // It may have ended already; then it says how.
            stop.send(()).unwrap_or_default();
        }
        let limit = self.config.shutdown_deadline + AFTERWARDS;
        let ended = tokio::time::timeout(limit, &mut self.worker).await.map_err(|_| Failure::CutShort)?;
        let ended = worked(ended);
        let totals = self.totals();
        let since = Instant::now();
        while !self.all_read(&totals) && since.elapsed() < AFTERWARDS {
            tokio::time::sleep(TICK).await;
        }
        self.show();
        self.screen.finish();
        ended
    }

    /// Asks the broker for what is not committed; again for a while, if it should be nothing.
    async fn committed_lag(&self, interrupted: bool) -> Result<i64, Failure> {
        let since = Instant::now();
        loop {
            let (servers, group) = (self.broker.servers().to_owned(), self.config.kafka.group_id.clone());
            let asking = tokio::task::spawn_blocking(move || lag(&servers, &group, INPUT));
            let asked = asking.await.map_err(|error| Failure::Internal(error.to_string()))?;
            let lag = asked.map_err(broker_failed)?;
            if lag == 0 || interrupted || since.elapsed() > AFTERWARDS {
                return Ok(lag);
            }
            tokio::time::sleep(TICK).await;
        }
    }

    fn report(
        &self,
        fed: &Fed,
        seconds: f64,
        lag: i64,
        interrupted: bool,
        records: Option<usize>,
    ) -> Result<(), Failure> {
        let shelf = self.reader.shelf();
        let summary = Summary::new(&self.metrics, &shelf, &self.query, seconds, lag, HITS);
        let labels = [self.metrics.model(), "ok"];
        let calls = self.metrics.api_request_duration_seconds.with_label_values(&labels);
        let call_seconds = calls.get_sample_sum() / calls.get_sample_count().max(1) as f64;
        let headline = if interrupted { "What happened so far" } else { "What happened" };
        self.screen.say(&format!("\n{headline}\n\n{}", summary.text(&shelf, call_seconds, self.live)));
        let counts = records.filter(|_| !self.live).map(corpus::expected);
        let expected = Expected { fed: fed.records(), counts, interrupted };
        let contradictions = summary.contradictions(&shelf, &expected);
        if self.json {
            self.screen.result(&summary.json()).map_err(|error| Failure::Internal(error.to_string()))?;
        }
        if contradictions.is_empty() {
            return Ok(());
        }
        Err(Failure::Internal(format!("the figures contradict each other: {}", contradictions.join("; "))))
    }
}

/// Ends the feed, and its client with it.
async fn cut_off<T>(feeding: JoinHandle<T>) {
    feeding.abort();
    // Cut off or just done: either way it is gone.
    drop(feeding.await);
}

fn outcomes(totals: &Totals) -> u64 {
    totals.embedded + totals.tombstones + totals.skipped + totals.dead_lettered
}

/// How the worker ended.
fn worked(ended: Result<Result<Ended, StartError>, tokio::task::JoinError>) -> Result<(), Failure> {
    Failure::of(ended.map_err(|_| Failure::Internal("the worker was cut off".to_owned()))??)
}

fn broker_failed(error: KafkaError) -> Failure {
    Failure::Unavailable(format!("the embedded broker: {error}"))
}
