//! One to four messages interleaved, on the SHA extensions.

use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_insert_epi32, _mm_set_epi8, _mm_set_epi32,
    _mm_setzero_si128, _mm_sha1msg1_epu32, _mm_sha1msg2_epu32, _mm_sha1nexte_epu32, _mm_sha1rnds4_epu32,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32,
    _mm_unpackhi_epi64, _mm_unpacklo_epi64, _mm_xor_si128,
};

use super::{Blocks, Piece, at, lanes, load, padding, store};
use crate::hash::constants::{SHA1_IV, SHA224_IV, SHA256_IV, SHA256_K};
use crate::hash::{Batch, Hash, HashAlg};

cpufeatures::new!(cpu, "sha", "sse4.1", "ssse3", "sse2");

/// Proof that the processor has the SHA extensions.
#[derive(Clone, Copy)]
pub(super) struct ShaNi(());

impl ShaNi {
    pub(super) fn detect() -> Option<Self> {
        cpu::get().then_some(Self(()))
    }

    /// Hashes the batch by SHA-1, SHA-224 or SHA-256, and tells how many messages that were.
    pub(super) fn hash(self, alg: HashAlg, batch: Batch<'_>, out: &mut [Hash]) -> usize {
        // SAFETY: a `ShaNi` exists only where `detect` has found the features that `all` is compiled for.
        unsafe { all(alg, batch, out) }
    }
}

#[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
fn all(alg: HashAlg, batch: Batch<'_>, out: &mut [Hash]) -> usize {
    let mut done = 0;
    while let Some(out) = out.get_mut(done..).filter(|out| !out.is_empty()) {
        let batch = batch.after(done);
        // More than three do not fit into sixteen registers, but four are better than three and one alone.
        done += match out.len() {
            1 => group::<1>(alg, batch, out),
            2 => group::<2>(alg, batch, out),
            4 => group::<4>(alg, batch, out),
            _ => group::<3>(alg, batch, out),
        };
    }
    done
}

/// Hashes the first `N` messages.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
fn group<const N: usize>(alg: HashAlg, batch: Batch<'_>, out: &mut [Hash]) -> usize {
    let bodies = lanes::<N, 4>(batch.bodies);
    let padding = [padding(batch.body_len())];
    let ends = batch.ends.map_or([&padding[..]; N], lanes);
    match alg {
        HashAlg::Sha1 => sha1(bodies, ends, out),
        HashAlg::Sha224 => sha256(&SHA224_IV, bodies, ends, alg, out),
        _ => sha256(&SHA256_IV, bodies, ends, alg, out),
    }
    N
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
fn sha256<const N: usize>(
    iv: &[u32; 8],
    bodies: [Blocks<'_, 4>; N],
    ends: [Blocks<'_, 4>; N],
    alg: HashAlg,
    out: &mut [Hash],
) {
    let [a, b, c, d, e, f, g, h] = iv.map(u32::cast_signed);
    let mut abef = [_mm_set_epi32(a, b, e, f); N];
    let mut cdgh = [_mm_set_epi32(c, d, g, h); N];
    for messages in [&bodies, &ends] {
        for index in 0..messages[0].len() {
            sha256_block(&mut abef, &mut cdgh, at(messages, index));
        }
    }
    let reverse = reverse_bytes();
    for (lane, out) in out.iter_mut().enumerate().take(N) {
        let (high, mut low) = (_mm_unpackhi_epi64(cdgh[lane], abef[lane]), _mm_unpacklo_epi64(cdgh[lane], abef[lane]));
        if alg == HashAlg::Sha224 {
            low = _mm_insert_epi32::<0>(low, 0);
        }
        *out = Hash::empty(alg);
        let pieces = out.bytes.as_chunks_mut().0;
        store(_mm_shuffle_epi8(high, reverse), &mut pieces[0]);
        store(_mm_shuffle_epi8(low, reverse), &mut pieces[1]);
    }
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
fn sha256_block<const N: usize>(abef: &mut [__m128i; N], cdgh: &mut [__m128i; N], blocks: [&[Piece; 4]; N]) {
    let swap = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
    let (abef_before, cdgh_before) = (*abef, *cdgh);
    let mut w = [[_mm_setzero_si128(); 4]; N];
    let quads = SHA256_K.as_chunks::<4>().0.as_chunks::<4>().0;
    for (sixteen, k) in quads.iter().enumerate() {
        for quad in 0..4 {
            let [k0, k1, k2, k3] = k[quad].map(u32::cast_signed);
            let k = _mm_set_epi32(k3, k2, k1, k0);
            for lane in 0..N {
                let w = &mut w[lane];
                w[quad] = if sixteen == 0 {
                    _mm_shuffle_epi8(load(&blocks[lane][quad]), swap)
                } else {
                    let (w4, w3, w2, w1) = (w[quad], w[(quad + 1) % 4], w[(quad + 2) % 4], w[(quad + 3) % 4]);
                    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(w4, w3), _mm_alignr_epi8::<4>(w1, w2));
                    _mm_sha256msg2_epu32(sum, w1)
                };
                let wk = _mm_add_epi32(w[quad], k);
                cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], wk);
                abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], _mm_shuffle_epi32::<0b1110>(wk));
            }
        }
    }
    for lane in 0..N {
        abef[lane] = _mm_add_epi32(abef[lane], abef_before[lane]);
        cdgh[lane] = _mm_add_epi32(cdgh[lane], cdgh_before[lane]);
    }
}

#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
fn sha1<const N: usize>(bodies: [Blocks<'_, 4>; N], ends: [Blocks<'_, 4>; N], out: &mut [Hash]) {
    let [a, b, c, d, e] = SHA1_IV.map(u32::cast_signed);
    let mut abcd = [_mm_set_epi32(a, b, c, d); N];
    let mut last = [_mm_set_epi32(e, 0, 0, 0); N];
    for messages in [&bodies, &ends] {
        for index in 0..messages[0].len() {
            sha1_block(&mut abcd, &mut last, at(messages, index));
        }
    }
    for (lane, out) in out.iter_mut().enumerate().take(N) {
        *out = Hash::empty(HashAlg::Sha1);
        let pieces = out.bytes.as_chunks_mut().0;
        store(_mm_shuffle_epi8(abcd[lane], reverse_bytes()), &mut pieces[0]);
        let e = _mm_extract_epi32::<3>(last[lane]).cast_unsigned();
        pieces[1] = (u128::from(e) << 96).to_be_bytes();
    }
}

/// Twenty times four rounds. `e` is the fifth word, in the highest place.
#[inline]
#[target_feature(enable = "sha,sse4.1,ssse3,sse2")]
fn sha1_block<const N: usize>(abcd: &mut [__m128i; N], e: &mut [__m128i; N], blocks: [&[Piece; 4]; N]) {
    let reverse = reverse_bytes();
    let (abcd_before, e_before) = (*abcd, *e);
    let mut w = [[_mm_setzero_si128(); 4]; N];
    /// Four rounds of each message with words already made.
    macro_rules! rounds {
        ($quad:literal, $function:literal) => {
            for lane in 0..N {
                let w = &mut w[lane];
                let quad = $quad % 4;
                if $quad < 4 {
                    w[quad] = _mm_shuffle_epi8(load(&blocks[lane][quad]), reverse);
                } else {
                    let (w4, w3, w2, w1) = (w[quad], w[(quad + 1) % 4], w[(quad + 2) % 4], w[(quad + 3) % 4]);
                    w[quad] = _mm_sha1msg2_epu32(_mm_xor_si128(_mm_sha1msg1_epu32(w4, w3), w2), w1);
                }
                let words = if $quad == 0 {
                    _mm_add_epi32(e[lane], w[quad])
                } else {
                    _mm_sha1nexte_epu32(e[lane], w[quad])
                };
                e[lane] = abcd[lane];
                abcd[lane] = _mm_sha1rnds4_epu32::<$function>(abcd[lane], words);
            }
        };
        ($($quad:literal)*; $function:literal) => { $(rounds!($quad, $function);)* };
    }
    rounds!(0 1 2 3 4; 0);
    rounds!(5 6 7 8 9; 1);
    rounds!(10 11 12 13 14; 2);
    rounds!(15 16 17 18 19; 3);
    for lane in 0..N {
        e[lane] = _mm_sha1nexte_epu32(e[lane], e_before[lane]);
        abcd[lane] = _mm_add_epi32(abcd[lane], abcd_before[lane]);
    }
}

/// Turns words with the first in the highest place into bytes in order, and back.
#[inline]
#[target_feature(enable = "sse2")]
fn reverse_bytes() -> __m128i {
    _mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
}
