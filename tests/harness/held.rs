//! What a process holds, from `/proc`.

/// Memory, descriptors and threads of a process.
#[derive(Debug)]
pub struct Held {
    pub resident_kib: f64,
    pub descriptors: usize,
    pub threads: usize,
}

impl Held {
    pub fn by(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let digits = line.and_then(|line| line.split_whitespace().next());
        let count = |of: &str| {
            let entries = std::fs::read_dir(format!("/proc/{pid}/{of}")).expect("it runs");
            entries.count()
        };
        Self {
            resident_kib: digits.expect("a size").parse().expect("in kB"),
            descriptors: count("fd"),
            threads: count("task"),
        }
    }
}
