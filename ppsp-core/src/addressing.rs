use crate::{Bin, ChunkAddressing, ChunkRange};

/// How ranges of chunks are written (RFC 7574 §4, §8.5). All integers are big-endian.
impl ChunkAddressing {
    /// Longest chunk specification of all methods, in bytes.
    pub const MAX_SPEC_LEN: usize = 16;

    /// Length of a chunk specification in bytes.
    pub const fn spec_len(self) -> usize {
        match self {
            Self::Bin32 => 4,
            Self::Range32 | Self::Bin64 => 8,
            Self::Byte64 | Self::Range64 => 16,
        }
    }

    /// Length in bytes of the Live Discard Window option's value (RFC 7574 §7.9): one value of a specification.
    pub const fn window_len(self) -> usize {
        match self {
            Self::Bin32 | Self::Range32 => 4,
            Self::Byte64 | Self::Bin64 | Self::Range64 => 8,
        }
    }

    /// Writes `range` to the front of `out` and returns the length, which is [`spec_len`](Self::spec_len).
    ///
    /// `None` where the method cannot name the range in one specification, or `out` is too short. Bins name aligned
    /// powers of two only; 32-bit methods end at 32 bits. [`pieces`](Self::pieces) gives ranges that can be named.
    ///
    /// Byte ranges are inclusive like all others: the end is the last byte of the last chunk, and not beyond the last
    /// byte of the content where its length is known. The RFC has no way to write "no byte", so that the one chunk of
    /// empty content is `0..0`.
    pub fn write_spec(
        self,
        range: ChunkRange,
        chunk_size: u32,
        content_length: Option<u64>,
        out: &mut [u8],
    ) -> Option<usize> {
        match self {
            Self::Bin32 => {
                let number = u32::try_from(Bin::exactly(range)?.number()).ok()?;
                // The node over all 2^32 chunks would be 0xFFFFFFFF, which says "empty".
                put(out, &[&Some(number).filter(|&n| n != u32::MAX)?.to_be_bytes()])
            }
            Self::Bin64 => put(out, &[&Bin::exactly(range)?.number().to_be_bytes()]),
            Self::Range32 => {
                let first = u32::try_from(range.first()).ok()?;
                let last = u32::try_from(range.last()).ok()?;
                put(out, &[&first.to_be_bytes(), &last.to_be_bytes()])
            }
            Self::Range64 => put(out, &[&range.first().to_be_bytes(), &range.last().to_be_bytes()]),
            Self::Byte64 => {
                let size = u64::from(chunk_size.max(1));
                let start = range.first().checked_mul(size)?;
                let nominal = range.last().checked_mul(size).and_then(|at| at.checked_add(size - 1));
                let end = match content_length {
                    Some(length) => nominal.unwrap_or(u64::MAX).min(length.saturating_sub(1)),
                    None => nominal?,
                };
                if start > end {
                    return None; // beyond the end of the content
                }
                put(out, &[&start.to_be_bytes(), &end.to_be_bytes()])
            }
        }
    }

    /// Reads the specification at the front of `bytes`; `Ok(None)` is the bin that stands for an empty interval.
    ///
    /// A byte range starts at a chunk and may end at any byte of its last chunk: the last chunk of the content may be
    /// shorter than the others, its nominal end is used as well as its true one, and the reader need not know which.
    pub fn read_spec(self, bytes: &[u8], chunk_size: u32) -> Result<Option<ChunkRange>, BadSpec> {
        match self {
            // RFC 7574 §4.2: 0xFFFFFFFF (32-bit) or 0xFFFFFFFFFFFFFFFF (64-bit) stands for an empty interval.
            Self::Bin32 => match u32_at(bytes, 0)? {
                u32::MAX => Ok(None),
                number => Ok(Bin::new(u64::from(number)).map(Bin::range)),
            },
            Self::Bin64 => Ok(Bin::new(u64_at(bytes, 0)?).map(Bin::range)),
            Self::Range32 => {
                let range = ChunkRange::new(u64::from(u32_at(bytes, 0)?), u64::from(u32_at(bytes, 4)?));
                range.map(Some).ok_or(BadSpec)
            }
            Self::Range64 => ChunkRange::new(u64_at(bytes, 0)?, u64_at(bytes, 8)?).map(Some).ok_or(BadSpec),
            Self::Byte64 => {
                let size = u64::from(chunk_size.max(1));
                let (start, end) = (u64_at(bytes, 0)?, u64_at(bytes, 8)?);
                if start > end || start % size != 0 {
                    return Err(BadSpec);
                }
                ChunkRange::new(start / size, end / size).map(Some).ok_or(BadSpec)
            }
        }
    }

    /// The fewest ranges that together are `range` and that the method can each name in one specification, in order.
    ///
    /// Chunks beyond what the method can name are left out; where byte ranges end depends on the chunk size, and is
    /// left to [`write_spec`](Self::write_spec).
    pub fn pieces(self, range: ChunkRange) -> impl Iterator<Item = ChunkRange> + Clone {
        let last = match self {
            Self::Bin32 => (1 << 31) - 1,
            Self::Range32 => u64::from(u32::MAX),
            Self::Bin64 => (1 << 63) - 1,
            Self::Byte64 | Self::Range64 => u64::MAX,
        };
        let clipped = ChunkRange::new(range.first(), range.last().min(last));
        let (whole, split) = match self {
            Self::Bin32 | Self::Bin64 => (None, clipped),
            Self::Byte64 | Self::Range32 | Self::Range64 => (clipped, None),
        };
        whole.into_iter().chain(split.into_iter().flat_map(Bin::cover).map(Bin::range))
    }
}

/// A chunk specification that names no range of chunks: cut short, its start after its end, or a byte range that does
/// not start at a chunk.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("chunk specification names no range of chunks")]
pub struct BadSpec;

fn put(out: &mut [u8], values: &[&[u8]]) -> Option<usize> {
    let mut at = 0;
    for value in values {
        out.get_mut(at..at + value.len())?.copy_from_slice(value);
        at += value.len();
    }
    Some(at)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, BadSpec> {
    bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u32::from_be_bytes(*b)).ok_or(BadSpec)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, BadSpec> {
    bytes.get(at..).and_then(|b| b.first_chunk()).map(|b| u64::from_be_bytes(*b)).ok_or(BadSpec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    use ChunkAddressing::*;

    fn r(first: u64, last: u64) -> ChunkRange {
        ChunkRange::new(first, last).unwrap()
    }

    fn write(method: ChunkAddressing, range: ChunkRange, length: Option<u64>) -> Option<Vec<u8>> {
        let mut out = [0xAA; 16];
        let len = method.write_spec(range, 1024, length, &mut out)?;
        assert_eq!(len, method.spec_len());
        assert!(out[len..].iter().all(|&b| b == 0xAA), "nothing is written beyond the specification");
        Some(out[..len].to_vec())
    }

    fn words32(a: u32, b: u32) -> Vec<u8> {
        [a.to_be_bytes(), b.to_be_bytes()].concat()
    }

    fn words64(a: u64, b: u64) -> Vec<u8> {
        [a.to_be_bytes(), b.to_be_bytes()].concat()
    }

    #[test]
    fn lengths() {
        assert_eq!(ChunkAddressing::ALL.map(ChunkAddressing::spec_len), [4, 16, 8, 8, 16]);
        assert_eq!(ChunkAddressing::ALL.map(ChunkAddressing::window_len), [4, 8, 4, 8, 8]);
    }

    #[test]
    fn known_answers() {
        // RFC 7574 §8.2: a HAVE of bin 1 is "0300000001".
        assert_eq!(write(Bin32, r(0, 1), None), Some([0, 0, 0, 1].to_vec()));
        assert_eq!(write(Bin64, r(4, 7), None), Some(11u64.to_be_bytes().to_vec()));
        assert_eq!(write(Range32, r(16, 23), None), Some(words32(16, 23)));
        assert_eq!(write(Range64, r(1 << 40, 1 << 41), None), Some(words64(1 << 40, 1 << 41)));
        // The special number "everything", in both widths.
        assert_eq!(write(Bin32, r(0, (1 << 31) - 1), None), Some(0x7FFF_FFFF_u32.to_be_bytes().to_vec()));
        assert_eq!(Bin32.read_spec(&[0x7F, 0xFF, 0xFF, 0xFF], 1024), Ok(Some(r(0, (1 << 31) - 1))));
        assert_eq!(Bin64.read_spec(&(u64::MAX >> 1).to_be_bytes(), 1024), Ok(Some(r(0, (1 << 63) - 1))));
        // And "empty".
        assert_eq!(Bin32.read_spec(&[0xFF; 4], 1024), Ok(None));
        assert_eq!(Bin64.read_spec(&[0xFF; 8], 1024), Ok(None));
        assert_eq!(Bin32.read_spec(&[0xFF, 0xFF, 0xFF, 0xFE], 1024), Ok(Some(r((1 << 31) - 1, (1 << 31) - 1))));
    }

    #[test]
    fn byte_ranges_end_where_the_content_ends() {
        assert_eq!(write(Byte64, r(0, 6), None), Some(words64(0, 7167)));
        assert_eq!(write(Byte64, r(0, 6), Some(7162)), Some(words64(0, 7161)));
        assert_eq!(write(Byte64, r(6, 6), Some(7162)), Some(words64(6144, 7161)));
        assert_eq!(write(Byte64, r(0, 5), Some(7162)), Some(words64(0, 6143)));
        assert_eq!(write(Byte64, r(7, 7), Some(7162)), None, "there is no such chunk");
        assert_eq!(write(Byte64, r(0, 0), Some(0)), Some(words64(0, 0)), "empty content is one chunk");
        for end in [6144, 7161, 7167] {
            assert_eq!(Byte64.read_spec(&words64(1024, end), 1024), Ok(Some(r(1, 6))));
        }
        assert_eq!(Byte64.read_spec(&words64(1023, 2047), 1024), Err(BadSpec));
        assert_eq!(Byte64.read_spec(&words64(0, u64::MAX), 1000), Ok(Some(r(0, u64::MAX / 1000))));
        assert_eq!(Byte64.write_spec(r(0, u64::MAX / 1000), 1000, None, &mut [0; 16]), None, "no such end");
        assert_eq!(Byte64.read_spec(&words64(0, u64::MAX), 0), Ok(Some(r(0, u64::MAX))), "no division by zero");
    }

    #[test]
    fn what_cannot_be_named() {
        assert_eq!(write(Bin32, r(0, 2), None), None, "not a power of two");
        assert_eq!(write(Bin32, r(1, 2), None), None, "not aligned");
        assert_eq!(write(Bin32, r(1 << 31, 1 << 31), None), None);
        assert_eq!(write(Bin32, r(0, (1 << 32) - 1), None), None);
        assert_eq!(write(Bin64, r(1 << 63, 1 << 63), None), None);
        assert_eq!(write(Range32, r(0, 1 << 32), None), None);
        for method in ChunkAddressing::ALL {
            let mut out = [0; 16];
            let short = method.spec_len() - 1;
            assert_eq!(method.write_spec(r(0, 0), 1024, None, &mut out[..short]), None);
            assert_eq!(method.read_spec(&out[..short], 1024), Err(BadSpec));
        }
        assert_eq!(Range32.read_spec(&words32(5, 4), 1024), Err(BadSpec));
        assert_eq!(Range64.read_spec(&words64(5, 4), 1024), Err(BadSpec));
        assert_eq!(Byte64.read_spec(&words64(5120, 4096), 1024), Err(BadSpec));
    }

    #[test]
    fn pieces_are_bins_or_the_whole() {
        let pieces = |method: ChunkAddressing, range| method.pieces(range).collect::<Vec<_>>();
        assert_eq!(pieces(Bin32, r(0, 6)), [r(0, 3), r(4, 5), r(6, 6)]);
        assert_eq!(pieces(Bin64, r(7, 8)), [r(7, 7), r(8, 8)]);
        assert_eq!(pieces(Range32, r(0, 6)), [r(0, 6)]);
        assert_eq!(pieces(Byte64, r(0, 6)), [r(0, 6)]);
        assert_eq!(pieces(Range32, r(3, 1 << 40)), [r(3, (1 << 32) - 1)]);
        assert_eq!(pieces(Range32, r(1 << 32, 1 << 40)), []);
        assert_eq!(pieces(Bin32, r(0, u64::MAX)), [r(0, (1 << 31) - 1)]);
        assert_eq!(pieces(Bin64, r(0, u64::MAX)), [r(0, (1 << 63) - 1)]);
        assert_eq!(pieces(Range64, r(0, u64::MAX)), [r(0, u64::MAX)]);
    }

    fn any_range() -> impl Strategy<Value = ChunkRange> {
        let small = (0..100_u64, 0..100_u64);
        let wide = (any::<u64>(), any::<u64>());
        prop_oneof![small, wide].prop_map(|(a, b)| r(a.min(b), a.max(b)))
    }

    proptest! {
        #[test]
        fn pieces_survive_the_wire(
            range in any_range(),
            method in prop::sample::select(&ChunkAddressing::ALL[..]),
            chunk_size in 1_u32..70_000,
        ) {
            let mut next = range.first();
            for piece in method.pieces(range) {
                prop_assert_eq!(piece.first(), next);
                next = piece.last().saturating_add(1);
                let mut out = [0; 16];
                match method.write_spec(piece, chunk_size, None, &mut out) {
                    Some(len) => prop_assert_eq!(method.read_spec(&out[..len], chunk_size), Ok(Some(piece))),
                    None => prop_assert!(method == Byte64 && piece.last() >= method.max_chunks(chunk_size)),
                }
            }
        }

        #[test]
        fn what_is_read_is_written_back(
            bytes in any::<[u8; 16]>(),
            method in prop::sample::select(&ChunkAddressing::ALL[..]),
            chunk_size in 1_u32..70_000,
        ) {
            if let Ok(Some(range)) = method.read_spec(&bytes, chunk_size) {
                let mut out = [0; 16];
                if let Some(len) = method.write_spec(range, chunk_size, None, &mut out) {
                    if method == Byte64 {
                        prop_assert_eq!(method.read_spec(&out[..len], chunk_size), Ok(Some(range)));
                    } else {
                        prop_assert_eq!(&out[..len], &bytes[..len]);
                    }
                }
            }
        }

        #[test]
        fn the_true_end_names_the_same_chunks(length in 1_u64..1 << 40, chunk_size in 512_u32..60_000, a: u64, b: u64) {
            let chunks = length.div_ceil(u64::from(chunk_size));
            let (a, b) = (a % chunks, b % chunks);
            let range = r(a.min(b), a.max(b));
            let mut out = [0; 16];
            prop_assert_eq!(Byte64.write_spec(range, chunk_size, Some(length), &mut out), Some(16));
            prop_assert_eq!(Byte64.read_spec(&out, chunk_size), Ok(Some(range)));
            let end = u64::from_be_bytes(*out.last_chunk().unwrap());
            prop_assert_eq!(end == length - 1, range.contains(chunks - 1));
        }
    }
}
