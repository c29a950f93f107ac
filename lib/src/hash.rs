//! One hash function. It is not secret: an attacker can compute it.

/// FNV-1a. Versions of our programs compare hashes that another version has computed, so the function must never
/// change.
pub fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_text_never_changes() {
        assert_eq!(
            [hash(b""), hash(b"a"), hash(b"29 /a/b")],
            [0xcbf2_9ce4_8422_2325, 0xaf63_dc4c_8601_ec8c, 0x56f8_d210_d6b5_0ee5]
        );
    }
}
