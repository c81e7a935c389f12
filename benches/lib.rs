//! What the benchmarks share. The benchmarks themselves lie beside this file, one for each hot path.

/// Bytes that look random and are the same every time.
pub fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut next = numbers(seed);
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| next().to_le_bytes()).collect();
    bytes.truncate(len);
    bytes
}

/// The numbers from 0 to `count`, in an order that looks random and is the same every time.
pub fn shuffled(count: u64, seed: u64) -> Vec<u64> {
    let mut next = numbers(seed);
    let mut all: Vec<u64> = (0..count).collect();
    for i in (1..all.len()).rev() {
        all.swap(i, (next() % (i as u64 + 1)) as usize);
    }
    all
}

/// Marsaglia's xorshift.
fn numbers(seed: u64) -> impl FnMut() -> u64 {
    let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        x
    }
}
