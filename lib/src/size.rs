//! Byte counts as people write them. No I/O.

/// The number in front of a unit, and the factor of the unit: `k`, `M` and `G` are powers of 1024; without a unit the
/// number counts bytes.
pub fn split(text: &[u8]) -> (&[u8], u64) {
    match text {
        [number @ .., b'k'] => (number, 1 << 10),
        [number @ .., b'M'] => (number, 1 << 20),
        [number @ .., b'G'] => (number, 1 << 30),
        number => (number, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_the_last_letter() {
        for (text, number, unit) in [
            ("5", "5", 1),
            ("5k", "5", 1024),
            ("100M", "100", 1 << 20),
            ("2G", "2", 1 << 30),
            ("", "", 1),
            ("k", "", 1024),
            ("5kk", "5k", 1024),
            ("5m", "5m", 1),
            ("5K", "5K", 1),
            ("5T", "5T", 1),
        ] {
            assert_eq!(split(text.as_bytes()), (number.as_bytes(), unit), "{text}");
        }
    }
}
