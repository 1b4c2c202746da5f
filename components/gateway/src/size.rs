//! Sizes as people read them.

/// Takes a number of bytes and gives it with a decimal unit and at most one decimal, for example
/// `4.3 GB`.
pub fn in_words(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    let mut unit = 0;
    // Tenths, so that no division rounds a limit up.
    let mut tenths = bytes.saturating_mul(10);
    while tenths >= 10_000 && unit + 1 < UNITS.len() {
        tenths /= 1_000;
        unit += 1;
    }
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole} {}", UNITS[unit]),
        (whole, tenth) => format!("{whole}.{tenth} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_their_unit_and_never_rounded_up() {
        for (bytes, words) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1_000, "1 kB"),
            (1_999, "1.9 kB"),
            (20_000_000, "20 MB"),
            (999_999, "999.9 kB"),
            (4_294_967_296, "4.2 GB"),
        ] {
            assert_eq!(in_words(bytes), words);
        }
    }
}
