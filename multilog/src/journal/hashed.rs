//! The hashes by which the first format of the journal knew directories, inputs and boots. No I/O.

/// The hash of two numbers, a device's and an inode's.
pub fn hash_of_numbers(one: u64, two: u64) -> u64 {
    hash(&[one.to_ne_bytes(), two.to_ne_bytes()].concat())
}

/// The hash of a text.
pub fn hash_of_text(text: &str) -> u64 {
    hash(&[text.as_bytes(), &[0xff]].concat())
}

/// SipHash-1-3 with a key of zeros, which was the standard library's `DefaultHasher` when such journals were made.
fn hash(bytes: &[u8]) -> u64 {
    let mut v: [u64; 4] = [0x736f_6d65_7073_6575, 0x646f_7261_6e64_6f6d, 0x6c79_6765_6e65_7261, 0x7465_6462_7974_6573];
    let chunks = bytes.chunks_exact(8);
    let mut last = [0; 8];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    last[7] = bytes.len() as u8;
    for chunk in chunks.chain([&last[..]]) {
        let word = u64::from_le_bytes(chunk.try_into().unwrap_or_default());
        v[3] ^= word;
        mix(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    (0..3).for_each(|_| mix(&mut v));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

fn mix(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}
