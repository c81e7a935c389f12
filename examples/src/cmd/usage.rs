use rustix::time::{ClockId, clock_gettime};

/// Seconds of processor time that this process has used.
pub(super) fn cpu_seconds() -> f64 {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    spent.tv_sec as f64 + spent.tv_nsec as f64 / 1e9
}

/// Most memory that this process has held at a time, in MiB; `None` where the system does not say.
pub(super) fn peak_rss_mib() -> Option<f64> {
    peak_of("self")
}

/// The same of a process that this one started.
pub(super) fn peak_rss_mib_of(process: u32) -> Option<f64> {
    peak_of(&process.to_string())
}

fn peak_of(process: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some((kib / 102.4).round() / 10.0)
}
