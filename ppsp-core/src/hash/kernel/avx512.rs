//! Sixteen messages in the lanes of AVX-512, eight for SHA-384 and SHA-512.

use core::arch::x86_64::{
    __m512i, _mm_set_epi8, _mm512_add_epi32, _mm512_add_epi64, _mm512_broadcast_i32x4, _mm512_castsi128_si512,
    _mm512_extracti32x4_epi32, _mm512_inserti32x4, _mm512_rol_epi32, _mm512_ror_epi32, _mm512_ror_epi64,
    _mm512_set1_epi32, _mm512_set1_epi64, _mm512_setzero_si512, _mm512_shuffle_epi8, _mm512_srli_epi32,
    _mm512_srli_epi64, _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64, _mm512_xor_si512,
};

use super::{Blocks, Piece, at, lanes, load, padding, store};
use crate::hash::constants::{SHA1_IV, SHA224_IV, SHA256_IV, SHA256_K, SHA384_IV, SHA512_IV, SHA512_K};
use crate::hash::{Batch, Hash, HashAlg};

cpufeatures::new!(cpu, "avx512f", "avx512bw");

/// Proof that the processor has AVX-512 F and BW, and that the system keeps its registers.
#[derive(Clone, Copy)]
pub(super) struct Avx512(());

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        cpu::get().then_some(Self(()))
    }

    /// Hashes messages of the batch while enough are left that a pass pays, and tells how many that were.
    ///
    /// `streams`: can the rest be hashed by interleaved streams, instead of one by one?
    pub(super) fn hash(self, alg: HashAlg, batch: Batch<'_>, streams: bool, out: &mut [Hash]) -> usize {
        let least = match alg {
            HashAlg::Sha1 if streams => LEAST_SHA1,
            HashAlg::Sha224 | HashAlg::Sha256 if streams => LEAST_SHA256,
            _ => LEAST_ALONE,
        };
        let mut done = 0;
        while let Some(out) = out.get_mut(done..).filter(|out| out.len() >= least) {
            // SAFETY: an `Avx512` exists only where `detect` has found the features that `pass` is compiled for.
            done += unsafe { pass(alg, batch.after(done), out) };
        }
        done
    }
}

/// Messages from which on a pass of sixteen lanes is better than streams of SHA-1, unused lanes or not.
///
/// Measured on Sapphire Rapids: alone on the core from 10 on; while others load it from 5 on, for SHA instructions then
/// take twice as long and AVX-512 an eighth longer.
const LEAST_SHA1: usize = 8;

/// The same for SHA-224 and SHA-256: alone from 16 on, beside others from 9 on.
const LEAST_SHA256: usize = 12;

/// The same against one message after the other without SHA instructions.
const LEAST_ALONE: usize = 2;

/// Hashes the first messages, as many as there are lanes, and tells how many that were.
#[target_feature(enable = "avx512f,avx512bw")]
fn pass(alg: HashAlg, batch: Batch<'_>, out: &mut [Hash]) -> usize {
    match alg {
        HashAlg::Sha1 => sha1(batch, out),
        HashAlg::Sha224 | HashAlg::Sha256 => sha256(alg, batch, out),
        HashAlg::Sha384 | HashAlg::Sha512 => sha512(alg, batch, out),
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn sha1(batch: Batch<'_>, out: &mut [Hash]) -> usize {
    let mut state = SHA1_IV.map(|word| _mm512_set1_epi32(word.cast_signed()));
    let padding = [padding(batch.body_len())];
    for messages in [lanes(batch.bodies), batch.ends.map_or([&padding[..]; 16], lanes)] {
        for index in 0..messages[0].len() {
            sha1_block(&mut state, words32(&messages, index));
        }
    }
    let [a, b, c, d, e] = state;
    let zero = _mm512_setzero_si512();
    write32([a, b, c, d, e, zero, zero, zero], HashAlg::Sha1, out)
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn sha1_block(state: &mut [__m512i; 5], mut w: [__m512i; 16]) {
    let mut s = *state;
    macro_rules! rounds {
        ($function:ident, $k:literal: $($t:literal)*) => {
            let k = _mm512_set1_epi32(u32::cast_signed($k));
            $(
                if $t >= 16 {
                    let (w3, w8, w14) = (w[($t + 13) % 16], w[($t + 8) % 16], w[($t + 2) % 16]);
                    let three = _mm512_ternarylogic_epi32::<PARITY>(w3, w8, w14);
                    w[$t % 16] = _mm512_rol_epi32::<1>(_mm512_xor_si512(three, w[$t % 16]));
                }
                let [a, b, c, d, e] = s;
                let function = _mm512_ternarylogic_epi32::<$function>(b, c, d);
                let sum = _mm512_add_epi32(_mm512_add_epi32(e, function), _mm512_add_epi32(w[$t % 16], k));
                s = [_mm512_add_epi32(sum, _mm512_rol_epi32::<5>(a)), a, _mm512_rol_epi32::<30>(b), c, d];
            )*
        };
    }
    rounds!(CHOICE, 0x5a82_7999: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
    rounds!(PARITY, 0x6ed9_eba1: 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39);
    rounds!(MAJORITY, 0x8f1b_bcdc: 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59);
    rounds!(PARITY, 0xca62_c1d6: 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79);
    for (word, added) in state.iter_mut().zip(s) {
        *word = _mm512_add_epi32(*word, added);
    }
}

/// Functions of three operands (FIPS 180-4 §4.1) as truth tables.
const PARITY: i32 = 0x96;
const CHOICE: i32 = 0xca;
const MAJORITY: i32 = 0xe8;

#[target_feature(enable = "avx512f,avx512bw")]
fn sha256(alg: HashAlg, batch: Batch<'_>, out: &mut [Hash]) -> usize {
    let iv = if alg == HashAlg::Sha224 { &SHA224_IV } else { &SHA256_IV };
    let mut state = iv.map(|word| _mm512_set1_epi32(word.cast_signed()));
    let bodies = lanes(batch.bodies);
    for index in 0..bodies[0].len() {
        sha256_block(&mut state, words32(&bodies, index));
    }
    if let Some(ends) = batch.ends {
        let ends = lanes(ends);
        for index in 0..ends[0].len() {
            sha256_block(&mut state, words32(&ends, index));
        }
    } else if batch.body_len() == 64 {
        sha256_scheduled(&mut state, &SHA256_AFTER_64);
    } else {
        sha256_block(&mut state, words32(&[&[padding(batch.body_len())]; 16], 0));
    }
    if alg == HashAlg::Sha224 {
        state[7] = _mm512_setzero_si512();
    }
    write32(state, alg, out)
}

#[target_feature(enable = "avx512f,avx512bw")]
fn sha512(alg: HashAlg, batch: Batch<'_>, out: &mut [Hash]) -> usize {
    let iv = if alg == HashAlg::Sha384 { &SHA384_IV } else { &SHA512_IV };
    let mut state = iv.map(|word| _mm512_set1_epi64(word.cast_signed()));
    let padding = [padding(batch.body_len())];
    for messages in [lanes(batch.bodies), batch.ends.map_or([&padding[..]; 8], lanes)] {
        for index in 0..messages[0].len() {
            sha512_block(&mut state, words64(&messages, index));
        }
    }
    if alg == HashAlg::Sha384 {
        [state[6], state[7]] = [_mm512_setzero_si512(); 2];
    }
    write64(state, alg, out)
}

/// Does what follows for each word of a block, unrolled: so the state and sixteen words stay in registers.
macro_rules! sixteen {
    ($each:ident) => {
        $each!(0);
        $each!(1);
        $each!(2);
        $each!(3);
        $each!(4);
        $each!(5);
        $each!(6);
        $each!(7);
        $each!(8);
        $each!(9);
        $each!(10);
        $each!(11);
        $each!(12);
        $each!(13);
        $each!(14);
        $each!(15);
    };
}

/// SHA-256 and SHA-512 differ in the width of words, in rotations and constants (FIPS 180-4 §4.1.2, §4.1.3).
macro_rules! sha2 {
    (
        $block:ident, $round:ident, $k:ident, $set1:ident, $add:ident, $ror:ident, $shr:ident,
        a: $a0:literal $a1:literal $a2:literal, e: $e0:literal $e1:literal $e2:literal,
        w15: $p0:literal $p1:literal $p2:literal, w2: $q0:literal $q1:literal $q2:literal
    ) => {
        /// One block of each lane.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        fn $block(state: &mut [__m512i; 8], mut w: [__m512i; 16]) {
            let mut s = *state;
            for (i, k) in $k.as_chunks::<16>().0.iter().enumerate() {
                if i > 0 {
                    macro_rules! scheduled {
                        ($t:literal) => {
                            let (w15, w2) = (w[($t + 1) % 16], w[($t + 14) % 16]);
                            let p = _mm512_ternarylogic_epi32::<PARITY>(
                                $ror::<$p0>(w15),
                                $ror::<$p1>(w15),
                                $shr::<$p2>(w15),
                            );
                            let q =
                                _mm512_ternarylogic_epi32::<PARITY>($ror::<$q0>(w2), $ror::<$q1>(w2), $shr::<$q2>(w2));
                            w[$t] = $add($add(w[$t], w[($t + 9) % 16]), $add(p, q));
                            s = $round(s, $add(w[$t], $set1(k[$t].cast_signed())));
                        };
                    }
                    sixteen!(scheduled);
                } else {
                    macro_rules! given {
                        ($t:literal) => {
                            s = $round(s, $add(w[$t], $set1(k[$t].cast_signed())));
                        };
                    }
                    sixteen!(given);
                }
            }
            for (word, added) in state.iter_mut().zip(s) {
                *word = $add(*word, added);
            }
        }

        /// One round with the sum of word and constant.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        fn $round([a, b, c, d, e, f, g, h]: [__m512i; 8], wk: __m512i) -> [__m512i; 8] {
            let of_e = _mm512_ternarylogic_epi32::<PARITY>($ror::<$e0>(e), $ror::<$e1>(e), $ror::<$e2>(e));
            let choice = _mm512_ternarylogic_epi32::<CHOICE>(e, f, g);
            let sum = $add($add($add(h, wk), choice), of_e);
            let of_a = _mm512_ternarylogic_epi32::<PARITY>($ror::<$a0>(a), $ror::<$a1>(a), $ror::<$a2>(a));
            let majority = _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c);
            [$add(sum, $add(of_a, majority)), a, b, c, $add(d, sum), e, f, g]
        }
    };
}

sha2!(
    sha256_block, sha256_round, SHA256_K, _mm512_set1_epi32, _mm512_add_epi32, _mm512_ror_epi32, _mm512_srli_epi32,
    a: 2 13 22, e: 6 11 25, w15: 7 18 3, w2: 17 19 10
);
sha2!(
    sha512_block, sha512_round, SHA512_K, _mm512_set1_epi64, _mm512_add_epi64, _mm512_ror_epi64, _mm512_srli_epi64,
    a: 28 34 39, e: 14 18 41, w15: 1 8 7, w2: 19 61 6
);

/// A block that is the same in each lane, from the sums of its words and the constants.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn sha256_scheduled(state: &mut [__m512i; 8], sums: &[u32; 64]) {
    let mut s = *state;
    for sums in sums.as_chunks::<16>().0 {
        macro_rules! scheduled {
            ($t:literal) => {
                s = sha256_round(s, _mm512_set1_epi32(sums[$t].cast_signed()));
            };
        }
        sixteen!(scheduled);
    }
    for (word, added) in state.iter_mut().zip(s) {
        *word = _mm512_add_epi32(*word, added);
    }
}

/// What [`sha256_scheduled`] needs for the padding after 64 bytes: every inner node ends so.
static SHA256_AFTER_64: [u32; 64] = {
    let mut w = [0_u32; 64];
    w[0] = 1 << 31;
    w[15] = 64 * 8;
    let mut t = 16;
    while t < 64 {
        let p = w[t - 15].rotate_right(7) ^ w[t - 15].rotate_right(18) ^ (w[t - 15] >> 3);
        let q = w[t - 2].rotate_right(17) ^ w[t - 2].rotate_right(19) ^ (w[t - 2] >> 10);
        w[t] = w[t - 16].wrapping_add(p).wrapping_add(w[t - 7]).wrapping_add(q);
        t += 1;
    }
    t = 0;
    while t < 64 {
        w[t] = w[t].wrapping_add(SHA256_K[t]);
        t += 1;
    }
    w
};

/// The words of the blocks at `index`: word by word, message by message.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn words32(messages: &[Blocks<'_, 4>; 16], index: usize) -> [__m512i; 16] {
    let swap = _mm512_broadcast_i32x4(_mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
    let m = at(messages, index);
    let mut words = [_mm512_setzero_si512(); 16];
    for (i, words) in words.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        // Lane 4 q + r is message 4 q + r: the q-th quarter of the r-th vector, then turned within each quarter.
        *words = transpose32([
            quarters([&m[0][i], &m[4][i], &m[8][i], &m[12][i]]),
            quarters([&m[1][i], &m[5][i], &m[9][i], &m[13][i]]),
            quarters([&m[2][i], &m[6][i], &m[10][i], &m[14][i]]),
            quarters([&m[3][i], &m[7][i], &m[11][i], &m[15][i]]),
        ]);
        for word in words {
            *word = _mm512_shuffle_epi8(*word, swap);
        }
    }
    words
}

/// As [`words32`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn words64(messages: &[Blocks<'_, 8>; 8], index: usize) -> [__m512i; 16] {
    let swap = _mm512_broadcast_i32x4(_mm_set_epi8(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    let m = at(messages, index);
    let mut words = [_mm512_setzero_si512(); 16];
    for (i, words) in words.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        let even = _mm512_shuffle_epi8(quarters([&m[0][i], &m[2][i], &m[4][i], &m[6][i]]), swap);
        let odd = _mm512_shuffle_epi8(quarters([&m[1][i], &m[3][i], &m[5][i], &m[7][i]]), swap);
        *words = [_mm512_unpacklo_epi64(even, odd), _mm512_unpackhi_epi64(even, odd)];
    }
    words
}

/// Writes the state, lane by lane.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn write32([a, b, c, d, e, f, g, h]: [__m512i; 8], alg: HashAlg, out: &mut [Hash]) -> usize {
    let swap = _mm512_broadcast_i32x4(_mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3));
    let [abcd, efgh] = [transpose32([a, b, c, d]), transpose32([e, f, g, h])];
    let count = out.len().min(16);
    out.iter_mut().take(16).for_each(|hash| *hash = Hash::empty(alg));
    for r in 0..4 {
        let halves = [_mm512_shuffle_epi8(abcd[r], swap), _mm512_shuffle_epi8(efgh[r], swap)];
        for (half, vector) in halves.into_iter().enumerate() {
            write_quarters(vector, out, r, 4, half);
        }
    }
    count
}

/// As [`write32`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn write64(state: [__m512i; 8], alg: HashAlg, out: &mut [Hash]) -> usize {
    let swap = _mm512_broadcast_i32x4(_mm_set_epi8(8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    let count = out.len().min(8);
    out.iter_mut().take(8).for_each(|hash| *hash = Hash::empty(alg));
    for (piece, [x, y]) in state.as_chunks::<2>().0.iter().enumerate() {
        let (even, odd) = (_mm512_unpacklo_epi64(*x, *y), _mm512_unpackhi_epi64(*x, *y));
        write_quarters(_mm512_shuffle_epi8(even, swap), out, 0, 2, piece);
        write_quarters(_mm512_shuffle_epi8(odd, swap), out, 1, 2, piece);
    }
    count
}

/// Four pieces side by side.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn quarters([a, b, c, d]: [&Piece; 4]) -> __m512i {
    let half = _mm512_inserti32x4::<1>(_mm512_castsi128_si512(load(a)), load(b));
    _mm512_inserti32x4::<3>(_mm512_inserti32x4::<2>(half, load(c)), load(d))
}

/// Writes the quarters to the `piece`-th pieces of the hashes at `first`, `first + step` and so on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn write_quarters(vector: __m512i, out: &mut [Hash], first: usize, step: usize, piece: usize) {
    let quarters = [
        _mm512_extracti32x4_epi32::<0>(vector),
        _mm512_extracti32x4_epi32::<1>(vector),
        _mm512_extracti32x4_epi32::<2>(vector),
        _mm512_extracti32x4_epi32::<3>(vector),
    ];
    for (quarter, hash) in quarters.into_iter().zip(out.iter_mut().skip(first).step_by(step)) {
        store(quarter, &mut hash.bytes.as_chunks_mut().0[piece]);
    }
}

/// Turns rows of four words into columns, in each quarter of its own.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn transpose32([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    let (ab, cd) = (_mm512_unpacklo_epi32(a, b), _mm512_unpacklo_epi32(c, d));
    let (ab_high, cd_high) = (_mm512_unpackhi_epi32(a, b), _mm512_unpackhi_epi32(c, d));
    [
        _mm512_unpacklo_epi64(ab, cd),
        _mm512_unpackhi_epi64(ab, cd),
        _mm512_unpacklo_epi64(ab_high, cd_high),
        _mm512_unpackhi_epi64(ab_high, cd_high),
    ]
}
