//! The state file's format: what a download or a seed knows about its content, as bytes. No I/O here.
//!
//! ```text
//! "PPSPSTAT"  version:u16  length:u32  body[length]  crc32:u32 (of all before)
//! ```
//!
//! The body, in order: swarm ID (u16 length, bytes), chunk size u32, addressing u8, integrity u8, hash u8, presence flags u8,
//! then content length u64, number of chunks u64, size u64 with mtime i64 and nanoseconds u32 of the content file, each only
//! where its flag is set, then the held runs: their number and, for each, the gap before it and its length less one, all in
//! LEB128. Fixed numbers are big-endian.

use ppsp_core::{ChunkAddressing, ChunkRange, HashAlg, IntegrityMethod, RangeSet, SwarmId, SwarmMetadata};

const MAGIC: &[u8; 8] = b"PPSPSTAT";
const VERSION: u16 = 1;
/// Magic, version, length of the body.
const HEADER: usize = 8 + 2 + 4;
/// Longest body accepted: a run every 2 KiB of a terabyte still fits.
const MAX_BODY: usize = 1 << 30;

const HAS_LENGTH: u8 = 1;
const HAS_CHUNKS: u8 = 2;
const HAS_STAMP: u8 = 4;
const IS_COMPLETE: u8 = 8;

/// Size and modification time of a file: cheap to compare, and different after almost any change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Stamp {
    /// Size in bytes.
    pub size: u64,
    /// Modification time: whole seconds since the Unix epoch.
    pub seconds: i64,
    /// Modification time: nanoseconds beyond them.
    pub nanos: u32,
}

/// What the state file says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct State {
    /// The swarm, with the content length where it is known.
    pub metadata: SwarmMetadata,
    /// Number of chunks, once proven.
    pub chunks: Option<u64>,
    /// The content file at the moment of the checkpoint.
    pub stamp: Option<Stamp>,
    /// Everything is held.
    pub complete: bool,
    /// Chunks that are on disk and verified.
    pub held: RangeSet,
}

/// Why bytes are not a state file. None of these is fatal: the content is checked again.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum StateError {
    /// It does not begin like one.
    #[error("it is not a ppsp state file")]
    NotState,
    /// Another version wrote it.
    #[error("it has format version {0}, this ppsp reads version {VERSION}")]
    Version(u16),
    /// It was torn, or bits changed.
    #[error("it is damaged")]
    Damaged,
}

impl State {
    /// Could a file that begins so be a state file, perhaps a torn one?
    pub fn may_begin(start: &[u8]) -> bool {
        let length = start.len().min(MAGIC.len());
        start[..length] == MAGIC[..length]
    }

    /// Has the content length been proven? Only the last chunk does that.
    pub(crate) fn length_is_proven(&self) -> bool {
        self.chunks.and_then(|chunks| chunks.checked_sub(1)).is_some_and(|last| self.held.contains(last))
    }

    /// The state as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let m = &self.metadata;
        let id = m.id.as_bytes();
        let mut out = Vec::with_capacity(128 + id.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&(id.len() as u16).to_be_bytes()); // a swarm ID has at most 1024 bytes
        out.extend_from_slice(id);
        out.extend_from_slice(&m.chunk_size.to_be_bytes());
        out.extend_from_slice(&[m.addressing.code(), m.integrity.code(), m.hash.code()]);
        let flag = |present: bool, bit| if present { bit } else { 0 };
        out.push(
            flag(m.content_length.is_some(), HAS_LENGTH)
                | flag(self.chunks.is_some(), HAS_CHUNKS)
                | flag(self.stamp.is_some(), HAS_STAMP)
                | flag(self.complete, IS_COMPLETE),
        );
        for number in [m.content_length, self.chunks].into_iter().flatten() {
            out.extend_from_slice(&number.to_be_bytes());
        }
        if let Some(stamp) = self.stamp {
            out.extend_from_slice(&stamp.size.to_be_bytes());
            out.extend_from_slice(&stamp.seconds.to_be_bytes());
            out.extend_from_slice(&stamp.nanos.to_be_bytes());
        }
        put_varint(&mut out, self.held.runs().count() as u64);
        let mut next = 0;
        for run in self.held.runs() {
            put_varint(&mut out, run.first() - next);
            put_varint(&mut out, run.len() - 1);
            next = run.last().saturating_add(1);
        }
        let length = (out.len() - HEADER) as u32;
        out[10..HEADER].copy_from_slice(&length.to_be_bytes());
        let crc = crc32fast::hash(&out);
        out.extend_from_slice(&crc.to_be_bytes());
        out
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// Anything else, down to a single changed bit.
    pub fn decode(bytes: &[u8]) -> Result<Self, StateError> {
        let mut head = Reader(bytes);
        if head.take(8) != Some(MAGIC) {
            return Err(StateError::NotState);
        }
        let version = head.u16().ok_or(StateError::Damaged)?;
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        let length = head.u32().ok_or(StateError::Damaged)? as usize;
        let body = head.take(length).filter(|_| length <= MAX_BODY).ok_or(StateError::Damaged)?;
        let crc = head.u32().filter(|_| head.0.is_empty()).ok_or(StateError::Damaged)?;
        if crc != crc32fast::hash(&bytes[..HEADER + length]) {
            return Err(StateError::Damaged);
        }
        Self::decode_body(Reader(body)).ok_or(StateError::Damaged)
    }

    fn decode_body(mut r: Reader<'_>) -> Option<Self> {
        let id_length = r.u16()?;
        let id = SwarmId::new(r.take(id_length.into())?)?;
        let chunk_size = r.u32()?;
        let addressing = ChunkAddressing::from_code(r.u8()?)?;
        let integrity = IntegrityMethod::from_code(r.u8()?)?;
        let hash = HashAlg::from_code(r.u8()?)?;
        let flags = r.u8()?;
        let content_length = if flags & HAS_LENGTH != 0 { Some(r.u64()?) } else { None };
        let chunks = if flags & HAS_CHUNKS != 0 { Some(r.u64()?) } else { None };
        let stamp = if flags & HAS_STAMP != 0 {
            Some(Stamp { size: r.u64()?, seconds: r.u64()? as i64, nanos: r.u32()? })
        } else {
            None
        };
        let mut held = RangeSet::new();
        let mut next = 0u64;
        for _ in 0..r.varint()? {
            let first = next.checked_add(r.varint()?)?;
            let last = first.checked_add(r.varint()?)?;
            held.insert(ChunkRange::new(first, last)?);
            next = last.checked_add(1)?;
        }
        let metadata = SwarmMetadata { id, chunk_size, addressing, integrity, hash, content_length };
        let complete = flags & IS_COMPLETE != 0;
        let state = Self { metadata, chunks, stamp, complete, held };
        (r.0.is_empty() && state.makes_sense()).then_some(state)
    }

    /// Do the parts agree with one another?
    fn makes_sense(&self) -> bool {
        let fits = match self.chunks {
            Some(chunks) => chunks > 0 && self.held.last().is_none_or(|last| last < chunks),
            None => self.held.is_empty(),
        };
        let lengths = self.metadata.chunks().is_none_or(|chunks| self.chunks.is_none_or(|c| c == chunks));
        let whole = !self.complete
            || (self.chunks == Some(self.held.len()) && self.metadata.content_length.is_some() && self.stamp.is_some());
        self.metadata.check().is_ok() && fits && lengths && whole
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if (bits << shift) >> shift != bits {
                return None;
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
}

/// Body of the fuzz target: no input may panic, and what is accepted must survive a round trip.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    // The checksum would stop a fuzzer at the door: try the body by itself too.
    for state in [State::decode(bytes).ok(), State::decode_body(Reader(bytes))].into_iter().flatten() {
        assert_eq!(State::decode(&state.encode()).as_ref(), Ok(&state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ppsp_core::Hash;
    use proptest::prelude::*;

    fn sample(runs: &[(u64, u64)], chunks: u64) -> State {
        let mut metadata = SwarmMetadata::of_root(&Hash::from_bytes(&[7; 32]).unwrap());
        metadata.content_length = Some(chunks * 1024 - 5);
        let mut held = RangeSet::new();
        for &(first, last) in runs {
            held.insert(ChunkRange::new(first, last).unwrap());
        }
        let stamp = Some(Stamp { size: 12, seconds: -3, nanos: 999_999_999 });
        State { metadata, chunks: Some(chunks), stamp, complete: held.len() == chunks, held }
    }

    #[test]
    fn round_trip() {
        for state in [sample(&[], 9), sample(&[(0, 8)], 9), sample(&[(1, 2), (4, 4), (500, 70_000)], 100_000)] {
            assert_eq!(State::decode(&state.encode()), Ok(state));
        }
    }

    #[test]
    fn any_changed_or_missing_byte_is_noticed() {
        let good = sample(&[(1, 2), (4, 4)], 9).encode();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(State::decode(&bad).is_err(), "byte {at}");
            assert!(State::decode(&good[..at]).is_err(), "cut at {at}");
        }
        assert_eq!(State::decode(&[&good[..], b"x"].concat()), Err(StateError::Damaged));
        assert_eq!(State::decode(b""), Err(StateError::NotState));
        let mut newer = good;
        newer[9] = 2;
        assert_eq!(State::decode(&newer), Err(StateError::Version(2)));
    }

    #[test]
    fn claims_that_contradict_one_another_are_refused() {
        let mut beyond = sample(&[(0, 9)], 9);
        beyond.complete = false;
        assert_eq!(State::decode(&beyond.encode()), Err(StateError::Damaged));
        let mut incomplete = sample(&[(0, 7)], 9);
        incomplete.complete = true;
        assert_eq!(State::decode(&incomplete.encode()), Err(StateError::Damaged));
    }

    #[test]
    fn fuzz_corpus() {
        let good = sample(&[(1, 2), (4, 4), (500, 70_000)], 100_000).encode();
        fuzz(b"");
        fuzz(&good);
        fuzz(&good[HEADER..good.len() - 4]);
        fuzz(&[0xff; 64]);
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/state_file");
        let mut files = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            fuzz(&std::fs::read(file.unwrap().path()).unwrap());
            files += 1;
        }
        assert!(files >= 4, "the corpus is gone");
    }

    proptest! {
        #[test]
        fn fuzz_anything(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            fuzz(&bytes);
        }

        #[test]
        fn fuzz_flipped(at in 0usize..100, with: u8) {
            let mut body = sample(&[(1, 2), (4, 4)], 9).encode();
            let at = at % body.len();
            body[at] ^= with;
            fuzz(&body);
            fuzz(&body[HEADER..body.len() - 4]);
        }
    }
}
