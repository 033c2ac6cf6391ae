//! Finding a provider's tokens per second that nobody told us, from what it takes and what it refuses.
//!
//! A provider that counts tokens by a bucket takes a call if the bucket holds its tokens. Write `n` for the tokens of a call and of
//! all that were taken before it, since some moment: a call sent at `t` is taken if `n` is at most `level + rate × t`, and refused if it is
//! more. So the calls are points on two sides of a line whose slope is the rate: from a refused one to a later one that was taken
//! the slope is at most the rate, from a taken one to a later refused one at least. A few refusals bound it closely, and a
//! window that refills once a minute is measured by the same rule.
//!
//! Until the first refusal there is no pace. Then the line is measured for some seconds while calls go on as hold-offs and slots allow. From
//! then on calls are paced, so that refusals end, at a little less than what was found. Once that has been quiet for long, the pace grows
//! until the next refusal. Refusals that come now and then however slow the calls are, with others taken between them, are no rate's: then
//! there is no pace for a while. A limit that has fallen is likely to come back: then the pace is tried upwards soon, and ever more rarely.

mod pace;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use self::pace::{ANOTHER, Judged, MARGIN, Pace, QUIET, QUIET_FALLEN, SETTLING};

/// How many calls are looked at.
const MOST_CALLS: usize = 128;
/// How long the line is measured at most. Each call is much of what flows meanwhile, so the bounds close slowly, and every refusal later is
/// many of the calls.
const LEARNING: Duration = Duration::from_secs(15);
/// The same after a limit has fallen: the former one bounds it as well.
const LEARNING_FALLEN: Duration = Duration::from_secs(10);
/// The same where calls follow each other closely: what is found is then tried upwards soon, since a bucket that overflows while calls are
/// held off makes the line look flatter than it is.
const LEARNING_CLOSE: Duration = Duration::from_secs(6);
/// Calls that are at most this long apart, in seconds, are close: one refusal more is little.
const CLOSELY: f64 = 0.9;
/// It is known well enough when its bounds are this close.
const CLOSE: f64 = 0.05;
/// It is not known before this: close bounds of a few points are chance, or a stall of ours.
const SURE: Duration = Duration::from_secs(3);
/// Points nearer in time than this say little: the network's delays are as long.
const APART: f64 = 0.5;
/// Where between its bounds the rate is taken to be.
const CAREFUL: f64 = 0.5;
/// The same where calls are not close: bounds that are far from each other were seen to lie higher around the rate, and a refusal costs more
/// than a few percent.
const CAREFUL_COARSE: f64 = 0.45;
/// After refusals that no rate explains they are taken for chance for this long, at first and at most.
const CHANCE: Duration = Duration::from_secs(120);
const CHANCE_MOST: Duration = Duration::from_secs(3_600);
/// A limit that is less than this part of the one before has fallen.
const FALLEN: f64 = 0.75;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Taken,
    Refused,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    id: u64,
    at: Instant,
    tokens: u64,
    fate: Fate,
}

#[derive(Debug)]
enum State {
    /// Nothing was refused yet.
    Free,
    /// Refusals are being looked at, since when; the rate before.
    Learning(Instant, Option<f64>),
    Paced(Pace),
}

/// See the module.
#[derive(Debug)]
pub struct HiddenRate {
    calls: VecDeque<Call>,
    state: State,
    /// When the last refusal was known: calls sent before it met the same one.
    refused_at: Option<Instant>,
    /// How many calls may be open while learning: one after a refusal, twice as many after each that was taken.
    most_open: usize,
    /// Until when refusals are taken for chance, and how long that is the next time.
    chance: (Option<Instant>, Duration),
}

impl Default for HiddenRate {
    fn default() -> Self {
        Self {
            calls: VecDeque::new(),
            state: State::Free,
            refused_at: None,
            most_open: 1,
            chance: (None, CHANCE),
        }
    }
}

impl HiddenRate {
    /// Tokens a second that are sent at most; `None`: nothing is known.
    pub fn per_second(&self) -> Option<f64> {
        match &self.state {
            State::Paced(pace) => Some(pace.rate),
            State::Free | State::Learning(..) => None,
        }
    }

    /// Whether a call may start now.
    pub fn is_ready(&mut self, now: Instant) -> bool {
        let pace = match &mut self.state {
            State::Free => return true,
            State::Learning(..) => return self.open() < self.most_open,
            State::Paced(pace) => pace,
        };
        pace.pass(now);
        if pace.level < 0.0 {
            pace.bound_at = now;
            return false;
        }
        true
    }

    /// A call of `tokens` starts. What it takes more than was saved up is waited for before the next.
    pub fn take(&mut self, tokens: u64) {
        if let State::Paced(pace) = &mut self.state {
            pace.level -= tokens as f64;
        }
    }

    /// Whether only an answer can make it ready.
    pub fn awaits_answer(&self) -> bool {
        matches!(self.state, State::Learning(..)) && self.open() >= self.most_open
    }

    /// When [`is_ready`](Self::is_ready) is worth calling; `None`: now, or at an answer. It may take several such moments.
    pub fn ready_at(&self, now: Instant) -> Option<Instant> {
        let State::Paced(pace) = &self.state else { return None };
        let passed = now.saturating_duration_since(pace.at).as_secs_f64();
        let missing = -(pace.level + passed * pace.rate);
        // No longer than a second: the pace may grow meanwhile.
        (missing > 0.0).then(|| now + Duration::from_secs_f64((missing / pace.rate).clamp(1e-6, 1.0)))
    }

    fn open(&self) -> usize {
        self.calls.iter().filter(|call| call.fate == Fate::Open).count()
    }

    /// A call is on the wire.
    pub fn sent(&mut self, id: u64, tokens: u64, now: Instant) {
        if matches!(self.state, State::Free) {
            return;
        }
        if self.calls.len() == MOST_CALLS {
            self.calls.pop_front();
        }
        self.calls.push_back(Call { id, at: now, tokens, fate: Fate::Open });
    }

    /// A call was taken.
    pub fn taken(&mut self, id: u64, now: Instant) {
        self.end(id, Fate::Taken);
        match &mut self.state {
            State::Free => {}
            State::Learning(..) => {
                self.most_open = self.most_open.saturating_mul(2);
                self.learn(now);
            }
            State::Paced(pace) => {
                pace.taken += u32::from(pace.is_trying());
                pace.strikes.1 = pace.strikes.1.saturating_add(1);
            }
        }
    }

    /// A call came to another end, which says nothing about the rate.
    pub fn lost(&mut self, id: u64) {
        self.calls.retain(|call| call.id != id);
    }

    /// A call of `tokens`, sent at `sent`, was refused because of the rate.
    pub fn refused(&mut self, id: u64, tokens: u64, sent: Instant, now: Instant) {
        self.end(id, Fate::Refused);
        let same = self.refused_at.is_some_and(|at| sent <= at);
        let by_chance = matches!(self.state, State::Free) && self.chance.0.is_some_and(|until| now < until);
        if same || by_chance {
            return;
        }
        (self.refused_at, self.most_open) = (Some(now), 1);
        let call = Call { id, at: sent, tokens, fate: Fate::Refused };
        match &mut self.state {
            State::Free => self.begin(call, None, now),
            State::Learning(..) => self.learn(now),
            State::Paced(pace) => {
                let former = pace.fallen.map_or(pace.best, |(_, former)| former.max(pace.best));
                pace.level = pace.level.min(-(tokens as f64));
                match pace.refused(now) {
                    Judged::Same => {}
                    Judged::Measured => self.measured(call, now),
                    Judged::Another => self.begin(call, Some(former), now),
                    Judged::Chance => {
                        self.state = State::Free;
                        self.calls.clear();
                        self.chance = (Some(now + self.chance.1), (self.chance.1 * 2).min(CHANCE_MOST));
                    }
                }
            }
        }
    }

    /// A pace that was tried upwards met the limit.
    fn measured(&mut self, call: Call, now: Instant) {
        let bounds = self.bounds();
        let State::Paced(pace) = &mut self.state else { return };
        let found = match bounds {
            (Some(low), Some(high)) if low < high => low + (high - low) * CAREFUL,
            (low, high) => low.or(high).unwrap_or(pace.rate * MARGIN),
        };
        // A bucket that was full at the beginning lets a pace grow far beyond the limit. Now it is empty.
        let far = pace.rate > found * ANOTHER;
        pace.found(
            found.clamp(pace.base / ANOTHER, pace.rate) * MARGIN,
            if far { SETTLING } else { QUIET },
            now,
        );
        pace.settling = far;
        self.calls.clear();
        self.calls.push_back(call);
    }

    fn begin(&mut self, call: Call, former: Option<f64>, now: Instant) {
        self.calls.clear();
        self.calls.push_back(call);
        self.state = State::Learning(now, former);
    }

    fn end(&mut self, id: u64, fate: Fate) {
        if let Some(call) = self.calls.iter_mut().rev().find(|call| call.id == id) {
            call.fate = fate;
        }
    }

    fn learn(&mut self, now: Instant) {
        let State::Learning(since, former) = self.state else { return };
        let (low, high) = self.bounds();
        let each =
            self.calls.iter().map(|call| call.tokens as f64).sum::<f64>() / self.calls.len().max(1) as f64;
        let close = low.or(high).is_some_and(|rate| each < rate * CLOSELY);
        // It has fallen, or we would not be here.
        let high = match (high, former) {
            (Some(high), Some(former)) => Some(high.min(former).max(low.unwrap_or(0.0))),
            _ => high,
        };
        let careful = if close { CAREFUL } else { CAREFUL_COARSE };
        let most = match (close, former) {
            (true, _) => LEARNING_CLOSE,
            (false, Some(_)) => LEARNING_FALLEN,
            (false, None) => LEARNING,
        };
        let sure = now.saturating_duration_since(since) >= SURE;
        let late = now.saturating_duration_since(since) >= most;
        let lately = self.refused_at.is_some_and(|at| now.saturating_duration_since(at) < most);
        let rate = match (low, high) {
            (Some(low), Some(high)) if late || (sure && (high - low).abs() <= CLOSE * high) => {
                low + (high - low) * careful
            }
            // Taken for as long since the last refusal: no limit that we could meet.
            (Some(_), None) if late && !lately => {
                self.state = State::Free;
                self.calls.clear();
                return;
            }
            _ => return,
        };
        let base = (rate * MARGIN).max(1.0);
        let fallen = former.filter(|former| base < FALLEN * former).map(|former| (now, former));
        let settling = close && fallen.is_none();
        let quiet = if fallen.is_some() {
            QUIET_FALLEN
        } else if settling {
            SETTLING
        } else {
            QUIET
        };
        let last = self.calls.iter().rev().find(|call| call.fate == Fate::Refused);
        let level = -last.map_or(0.0, |call| call.tokens as f64);
        let mut pace = Pace {
            best: base,
            base,
            rate: base,
            level,
            at: now,
            quiet_until: now,
            bound_at: now,
            fallen,
            former_since: None,
            settling: false,
            taken: 0,
            strikes: (0, 0),
            odd: 0,
            coarse: each >= former.unwrap_or(rate).max(rate) * CLOSELY,
        };
        pace.found(base, quiet, now);
        pace.settling = settling;
        let last = last.copied();
        self.state = State::Paced(pace);
        self.calls.clear();
        self.calls.extend(last);
    }

    /// What the rate is at least and at most, in tokens a second.
    fn bounds(&self) -> (Option<f64>, Option<f64>) {
        let mut before = 0.0;
        let points: Vec<(Instant, f64, Fate)> = self
            .calls
            .iter()
            .map(|call| {
                let n = before + call.tokens as f64;
                if call.fate != Fate::Refused {
                    before = n;
                }
                (call.at, n, call.fate)
            })
            .collect();
        let (mut low, mut high): (Option<f64>, Option<f64>) = (None, None);
        for (later, &(at, n, fate)) in points.iter().enumerate() {
            for &(at_before, n_before, fate_before) in &points[..later] {
                let seconds = at.saturating_duration_since(at_before).as_secs_f64();
                if seconds < APART {
                    continue;
                }
                let slope = (n - n_before) / seconds;
                match (fate_before, fate) {
                    (Fate::Refused, Fate::Taken) if slope > 0.0 => {
                        low = Some(low.map_or(slope, |low| low.max(slope)));
                    }
                    (Fate::Taken, Fate::Refused) => high = Some(high.map_or(slope, |high| high.min(slope))),
                    _ => {}
                }
            }
        }
        (low, high)
    }
}
