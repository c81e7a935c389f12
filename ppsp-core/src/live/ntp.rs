//! The time at which something was signed.

/// A moment in UTC in the 64-bit NTP timestamp format (RFC 5905 §6): seconds since 1900 and a fraction.
///
/// The seconds wrap around every 136 years, next in 2036. Differences are right for moments less than 68 years apart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct NtpTime(u64);

impl NtpTime {
    /// From the 64 bits of the format.
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The 64 bits of the format.
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// From microseconds since the Unix epoch.
    pub const fn from_unix_micros(micros: u64) -> Self {
        let seconds = (micros / MICROS).wrapping_add(UNIX_EPOCH) & 0xFFFF_FFFF;
        // Rounded up, so that the way back, which rounds down, leads to the same microsecond.
        let fraction = ((micros % MICROS) << 32).div_ceil(MICROS);
        Self(seconds << 32 | fraction)
    }

    /// Microseconds since the Unix epoch, for moments from 1970 to 2104.
    pub const fn to_unix_micros(self) -> u64 {
        let seconds = (self.0 >> 32).wrapping_sub(UNIX_EPOCH) & 0xFFFF_FFFF;
        seconds * MICROS + (((self.0 & 0xFFFF_FFFF) * MICROS) >> 32)
    }

    /// Microseconds from `earlier` to this, rounded; negative where that is later.
    pub const fn micros_since(self, earlier: Self) -> i64 {
        let difference = self.0.wrapping_sub(earlier.0) as i64;
        ((difference as i128 * MICROS as i128 + (1 << 31)) >> 32) as i64
    }

    /// The later of the two.
    #[must_use]
    pub const fn max(self, other: Self) -> Self {
        if self.micros_since(other) < 0 { other } else { self }
    }
}

const MICROS: u64 = 1_000_000;
/// Seconds from 1900 to 1970.
const UNIX_EPOCH: u64 = 2_208_988_800;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments() {
        // RFC 5905 Figure 4: 1 January 1970, and the first day of era 1.
        assert_eq!(NtpTime::from_unix_micros(0).to_bits(), 2_208_988_800 << 32);
        assert_eq!(NtpTime::from_unix_micros(2_085_978_496_000_000).to_bits(), 0);
        assert_eq!(NtpTime::from_unix_micros(500_000).to_bits() & 0xFFFF_FFFF, 1 << 31);
        // Over the end of the era.
        let before = NtpTime::from_unix_micros(2_085_978_495_000_000);
        let after = NtpTime::from_unix_micros(2_085_978_497_000_000);
        assert_eq!((after.micros_since(before), before.micros_since(after)), (2_000_000, -2_000_000));
        assert_eq!((before.max(after), after.max(before)), (after, after));
    }

    proptest! {
        #[test]
        fn there_and_back(micros in 0u64..4_200_000_000_000_000) {
            prop_assert_eq!(NtpTime::from_unix_micros(micros).to_unix_micros(), micros);
        }
    }
}
