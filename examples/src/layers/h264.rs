//! Which pictures of H.264 others are made of (ISO/IEC 14496-10 §7.4.1).

use super::Unreadable;

/// Is a sample needed for others? Its NAL units each have their length before them, in so many bytes.
pub(super) fn is_needed(sample: &[u8], nal_length: usize) -> Result<bool, Unreadable> {
    let mut rest = sample;
    let (mut pictures, mut needed) = (0, false);
    while !rest.is_empty() {
        let (length, behind) = rest.split_at_checked(nal_length).ok_or(Unreadable::NotH264)?;
        let length = length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte));
        let (unit, behind) = behind.split_at_checked(length).ok_or(Unreadable::NotH264)?;
        rest = behind;
        let Some(head) = unit.first() else { continue };
        let (reference, kind) = (head >> 5 & 3, head & 31);
        match kind {
            // Slices: nal_ref_idc is 0 in all of a picture, or in none.
            1..=5 => {
                pictures += 1;
                needed |= reference != 0;
            }
            // Parameter sets are for those behind, too.
            7 | 8 | 13 | 15 => needed = true,
            _ => {}
        }
    }
    if pictures == 0 { Err(Unreadable::NotH264) } else { Ok(needed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pictures_that_nobody_refers_to_are_not_needed() {
        let units = |heads: &[u8]| -> Vec<u8> { heads.iter().flat_map(|&head| [0, 2, head, 0xff]).collect() };
        for (heads, needed) in [
            (&[0x65_u8][..], true),
            (&[0x41], true),
            (&[0x01], false),
            (&[0x06, 0x01, 0x01], false),
            (&[0x09, 0x68, 0x01], true),
        ] {
            assert_eq!(is_needed(&units(heads), 2), Ok(needed), "{heads:x?}");
        }
        for bad in [&[][..], &[0, 1], &[0, 9, 1], &[0], &[0, 0], &[0, 1, 9]] {
            assert_eq!(is_needed(bad, 2), Err(Unreadable::NotH264), "{bad:?}");
        }
    }
}
