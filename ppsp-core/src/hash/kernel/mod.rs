//! Hashing messages of one length side by side with the vector instructions of x86-64.
//!
//! One message at a time is bound by the latency of the instructions; several independent ones hide it. Owns every
//! `unsafe` block of the crate, two calls in all: each enters a function compiled for instructions that the processor
//! has been found to know, inside of which intrinsics are safe. It does not own what is hashed, nor the choice of the
//! backend. SHA-384 and SHA-512 have no instructions here but the sixty-four-bit lanes of AVX-512.

use core::arch::x86_64::{__m128i, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_unpackhi_epi64};
use core::array;

use super::{Batch, Hash, HashAlg, HashBackend};
use avx512::Avx512;
use sha_ni::ShaNi;

mod avx512;
mod sha_ni;

/// Does this processor have what the backend needs?
pub(super) fn is_available(backend: HashBackend) -> bool {
    match backend {
        HashBackend::Portable => true,
        HashBackend::ShaExtensions => ShaNi::detect().is_some(),
        HashBackend::Avx512 => Avx512::detect().is_some(),
    }
}

/// Hashes the first messages of a batch, as many as `backend` has a better way for, and tells how many.
pub(super) fn hash(backend: HashBackend, alg: HashAlg, batch: Batch<'_>, out: &mut [Hash]) -> usize {
    let (wide, streams) = match backend {
        HashBackend::Portable => (None, None),
        HashBackend::ShaExtensions => (None, ShaNi::detect()),
        HashBackend::Avx512 => (Avx512::detect(), ShaNi::detect()),
    };
    let streams = streams.filter(|_| alg.block() == 64);
    let mut done = 0;
    if let Some(wide) = wide {
        done += wide.hash(alg, batch, streams.is_some(), out);
    }
    if let (Some(streams), Some(out)) = (streams, out.get_mut(done..)) {
        done += streams.hash(alg, batch.after(done), out);
    }
    done
}

/// What loads and stores move at once.
type Piece = [u8; 16];

/// The blocks of a message.
type Blocks<'a, const PIECES: usize> = &'a [[Piece; PIECES]];

/// The whole blocks of the first `N` messages; where there are fewer, the last of them stands in.
#[inline]
fn lanes<'a, const N: usize, const PIECES: usize>(messages: &[&'a [u8]]) -> [Blocks<'a, PIECES>; N] {
    let last = messages.last().copied().unwrap_or_default();
    let messages = match messages.first_chunk::<N>() {
        Some(messages) => *messages,
        None => array::from_fn(|lane| messages.get(lane).copied().unwrap_or(last)),
    };
    array::from_fn::<_, N, _>(|lane| messages[lane].as_chunks().0.as_chunks().0)
}

/// The blocks at `index` of each message.
#[inline]
fn at<'a, const N: usize, const PIECES: usize>(
    messages: &[Blocks<'a, PIECES>; N],
    index: usize,
) -> [&'a [Piece; PIECES]; N] {
    array::from_fn(|lane| messages[lane].get(index).unwrap_or(&[[0; 16]; PIECES]))
}

/// The block that follows whole blocks of `len` bytes: a one bit, zeros, the length in bits.
const fn padding<const PIECES: usize>(len: usize) -> [Piece; PIECES] {
    let mut block = [[0; 16]; PIECES];
    block[PIECES - 1] = (len as u128 * 8).to_be_bytes();
    block[0][0] = 0x80;
    block
}

/// One load.
#[inline]
#[target_feature(enable = "sse2")]
fn load(piece: &Piece) -> __m128i {
    let bits = u128::from_le_bytes(*piece);
    _mm_set_epi64x((bits >> 64) as i64, bits as i64)
}

/// One store.
#[inline]
#[target_feature(enable = "sse2")]
fn store(vector: __m128i, piece: &mut Piece) {
    let (low, high) = (_mm_cvtsi128_si64(vector), _mm_cvtsi128_si64(_mm_unpackhi_epi64(vector, vector)));
    *piece = (u128::from(low.cast_unsigned()) | u128::from(high.cast_unsigned()) << 64).to_le_bytes();
}
