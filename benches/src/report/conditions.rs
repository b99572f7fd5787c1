//! What a number means nothing without: when, on what, and of which commit.

use serde::Serialize;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The circumstances of a run. A machine that was busy already is the usual reason for a surprise.
#[derive(Clone, Debug, Serialize)]
pub struct Conditions {
    /// Day (UTC), as `2026-11-21`.
    pub date: String,
    /// What was measured, with `-dirty` if it was changed since; absent outside a git repository.
    pub commit: Option<String>,
    /// Release of the kernel.
    pub kernel: String,
    /// Model of the processor.
    pub cpu: String,
    /// How many processors the machine has.
    pub cores: usize,
    /// Average number of runnable processes in the minute before the measurement.
    pub load: f64,
    /// The command line of the measurement.
    pub command: String,
}

impl Conditions {
    /// Those of this machine, now. What cannot be found out is `?`.
    pub fn here() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let (kernel, cpus, load) =
            (read("/proc/sys/kernel/osrelease"), read("/proc/cpuinfo"), read("/proc/loadavg"));
        let models = || cpus.lines().filter_map(|line| line.strip_prefix("model name"));
        let model = models().next().and_then(|line| line.split_once(": ")).map_or("?", |(_, m)| m);
        let or_unknown = |text: &str| if text.is_empty() { "?" } else { text }.to_owned();
        let name = |program: String| program.rsplit('/').next().map(str::to_owned);
        let mut args = std::env::args();
        let program = args.next().and_then(name).unwrap_or_default();
        Self {
            date: date(SystemTime::now()),
            commit: commit(),
            kernel: or_unknown(kernel.trim()),
            cpu: model.to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            load: load.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(f64::NAN),
            command: [program].into_iter().chain(args).collect::<Vec<_>>().join(" "),
        }
    }
}

impl std::fmt::Display for Conditions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { date, commit, kernel, cpu, cores, load, .. } = self;
        let commit = commit.as_deref().unwrap_or("unknown");
        write!(f, "{date}, commit {commit}, Linux {kernel}, {cores} x {cpu}, load {load:.1}")
    }
}

fn commit() -> Option<String> {
    let arguments = ["describe", "--always", "--exclude=*", "--dirty"];
    let output = Command::new("git").args(arguments).output().ok()?;
    let commit = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !commit.trim().is_empty()).then(|| commit.trim().to_owned())
}

/// The day of `time` in the Gregorian calendar, by counting years that begin in March: their days up
/// to each month are then a linear function of it.
fn date(time: SystemTime) -> String {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    let days = time.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs() / 86_400);
    // From 0000-03-01.
    let days = days + 719_468;
    let (era, day) = (days / DAYS_OF_400_YEARS, days % DAYS_OF_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + carry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn days_are_those_of_the_calendar() {
        let check = |days: u64, text| {
            assert_eq!(date(UNIX_EPOCH + Duration::from_secs(days * 86_400 + 7)), text);
        };
        check(0, "1970-01-01");
        check(11_016, "2000-02-29");
        check(11_017, "2000-03-01");
        check(20_454, "2026-01-01");
        check(20_778, "2026-11-21");
    }
}
