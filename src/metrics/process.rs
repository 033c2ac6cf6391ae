//! What the operating system knows of this process, under the names that every Prometheus client uses.
//!
//! Read from `/proc` at each scrape. prometheus' own `process` feature would bring procfs, rustix and libc for these four figures.
//! Elsewhere than on Linux they are left out.

use std::fmt::Write as _;
use std::fs;
use std::sync::OnceLock;

/// Clock ticks in a second where the kernel does not say: what Linux shows programs on all common architectures.
const TICKS: f64 = 100.0;

/// The entry of the auxiliary vector that holds the clock ticks in a second.
const AT_CLKTCK: u64 = 17;

/// When the process started. The kernel's `btime` moves with every step of the clock, and each move would look like a restart.
static STARTED: OnceLock<f64> = OnceLock::new();

/// The first figure that was read.
fn first(known: &OnceLock<f64>, read: Option<f64>) -> Option<f64> {
    known.get().copied().or_else(|| read.map(|read| *known.get_or_init(|| read)))
}

/// Appends the figures that can be read.
pub(super) fn append(text: &mut String) {
    let stat = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| Stat::parse(&stat, ticks()));
    let resident = fs::read_to_string("/proc/self/status").ok().and_then(|status| resident_bytes(&status));
    let booted = fs::read_to_string("/proc/stat").ok().and_then(|stat| boot_seconds(&stat));
    // The directory that is being read is one of them.
    let open = fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count().saturating_sub(1));

    let mut figure = |name, kind, help, value: Option<f64>| {
        if let Some(value) = value {
            let line = format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
            text.write_fmt(line).expect("writing to a String does not fail");
        }
    };
    let cpu = stat.as_ref().map(|stat| stat.cpu_seconds);
    figure("process_cpu_seconds_total", "counter", "User and system CPU time in seconds.", cpu);
    figure("process_open_fds", "gauge", "Open file descriptors.", open.map(|count| count as f64));
    let resident = resident.map(|bytes| bytes as f64);
    figure("process_resident_memory_bytes", "gauge", "Resident memory in bytes.", resident);
    let started = stat.zip(booted).map(|(stat, booted)| booted + stat.started_seconds);
    let started = first(&STARTED, started);
    figure(
        "process_start_time_seconds",
        "gauge",
        "Unix time in seconds at which the process started.",
        started,
    );
}

/// What `/proc/self/stat` says.
#[derive(Debug, PartialEq)]
struct Stat {
    /// User and system time.
    cpu_seconds: f64,
    /// The start, since boot.
    started_seconds: f64,
}

impl Stat {
    fn parse(stat: &str, ticks: f64) -> Option<Self> {
        // The second field is the program's name in brackets and may hold blanks and brackets itself.
        let (_, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // proc(5) counts from 1, and the first field of the rest is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Self { cpu_seconds: (field(14)? + field(15)?) / ticks, started_seconds: field(22)? / ticks })
    }
}

/// `VmRSS` of `/proc/self/status`, which needs no page size.
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// `btime` of `/proc/stat`: the boot as Unix time.
fn boot_seconds(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Clock ticks in a second.
fn ticks() -> f64 {
    fs::read("/proc/self/auxv").ok().and_then(|auxv| ticks_of(&auxv)).unwrap_or(TICKS)
}

/// Looks the clock ticks up in an auxiliary vector: pairs of machine words.
fn ticks_of(auxv: &[u8]) -> Option<f64> {
    const WORD: usize = size_of::<usize>();
    let mut words = auxv.chunks_exact(WORD).map(|word| {
        let mut bytes = [0; 8];
        if cfg!(target_endian = "little") {
            bytes[..WORD].copy_from_slice(word);
            u64::from_le_bytes(bytes)
        } else {
            bytes[8 - WORD..].copy_from_slice(word);
            u64::from_be_bytes(bytes)
        }
    });
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        if key == AT_CLKTCK && (1..=1_000_000).contains(&value) {
            return Some(value as f64);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "42 (a) b) (c) R 1 2 3 4 5 6 7 8 9 10 1500 500 0 0 20 0 9 0 12345 100 200";
        assert_eq!(Stat::parse(stat, 100.0), Some(Stat { cpu_seconds: 20.0, started_seconds: 123.45 }));
        assert_eq!(Stat::parse("42 (a) R 1 2", 100.0), None);
        assert_eq!(Stat::parse("", 100.0), None);
    }

    #[test]
    fn resident_memory_is_read_in_kibibytes() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t   2048 kB\nVmData: 1 kB\n"), Some(2 * 1024 * 1024));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
        assert_eq!(resident_bytes("VmRSS: many kB\n"), None);
    }

    #[test]
    fn the_boot_time_is_found() {
        assert_eq!(boot_seconds("cpu 1 2\nbtime 1700000000\nprocesses 3\n"), Some(1_700_000_000.0));
        assert_eq!(boot_seconds("cpu 1 2\n"), None);
    }

    #[test]
    fn a_clock_that_is_set_starts_no_process() {
        let known = OnceLock::new();
        assert_eq!(first(&known, None), None);
        assert_eq!(first(&known, Some(1_700_000_000.5)), Some(1_700_000_000.5));
        assert_eq!(first(&known, Some(1_700_000_001.5)), Some(1_700_000_000.5));
        assert_eq!(first(&known, None), Some(1_700_000_000.5));
    }

    #[test]
    fn ticks_are_found_or_not() {
        let vector = |pairs: &[(usize, usize)]| -> Vec<u8> {
            pairs.iter().flat_map(|(key, value)| [key.to_ne_bytes(), value.to_ne_bytes()].concat()).collect()
        };
        assert_eq!(ticks_of(&vector(&[(6, 4096), (17, 250), (0, 0)])), Some(250.0));
        assert_eq!(ticks_of(&vector(&[(17, 0)])), None, "a division by zero");
        assert_eq!(ticks_of(&vector(&[(6, 17)])), None, "a value is not a key");
        assert_eq!(ticks_of(&[1, 2, 3]), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_plausible_figures() {
        let mut text = String::new();
        append(&mut text);
        let figure = |name: &str| -> f64 {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.expect(name).parse().expect("a number")
        };
        assert!(figure("process_resident_memory_bytes") > 1024.0 * 1024.0);
        assert!(figure("process_open_fds") >= 3.0);
        assert!(figure("process_cpu_seconds_total") >= 0.0);
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs_f64();
        let age = now - figure("process_start_time_seconds");
        assert!((-2.0..86_400.0).contains(&age), "started {age} s ago");
    }
}
