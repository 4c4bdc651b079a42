//! Which chunk types beyond RFC 9260 an end understands.

use std::fmt;

use super::chunk::ChunkType;

/// A set of extensions, as the Supported Extensions parameter lists them (RFC 5061 §4.2.7). Types that this
/// implementation does not know are left out.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Extensions(u8);

impl Extensions {
    /// None.
    pub const NONE: Self = Self(0);
    /// Stream reset (RFC 6525).
    pub const RE_CONFIG: Self = Self(1);
    /// Partial reliability (RFC 3758); has a parameter of its own as well.
    pub const FORWARD_TSN: Self = Self(1 << 1);
    /// Interleaving (RFC 8260).
    pub const I_DATA: Self = Self(1 << 2);
    /// Partial reliability when interleaving (RFC 8260 §2.3.1).
    pub const I_FORWARD_TSN: Self = Self(1 << 3);

    const TYPES: [(Self, ChunkType); 4] = [
        (Self::RE_CONFIG, ChunkType::RE_CONFIG),
        (Self::FORWARD_TSN, ChunkType::FORWARD_TSN),
        (Self::I_DATA, ChunkType::I_DATA),
        (Self::I_FORWARD_TSN, ChunkType::I_FORWARD_TSN),
    ];

    /// Returns `true` if all of `other` are among these.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns the extensions in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Returns the extensions in both sets.
    #[must_use]
    pub const fn intersect(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Returns `true` if there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the set as a number, for a State Cookie.
    #[must_use]
    pub const fn to_bits(self) -> u8 {
        self.0
    }

    /// Returns the set that [`to_bits`](Self::to_bits) wrote; bits without meaning are left out.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & 0b1111)
    }

    /// Returns the set that a list of chunk types stands for.
    pub(super) fn from_chunk_types(types: &[u8]) -> Self {
        let known = Self::TYPES.iter().filter(|(_, kind)| types.contains(&kind.0));
        known.fold(Self::NONE, |set, &(extension, _)| set.union(extension))
    }

    /// Returns the chunk types that the set stands for.
    pub(super) fn chunk_types(self) -> impl Iterator<Item = u8> {
        Self::TYPES.into_iter().filter(move |&(extension, _)| self.contains(extension)).map(|(_, kind)| kind.0)
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Extensions")?;
        f.debug_list().entries(self.chunk_types().map(ChunkType)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_set_survives_bits_and_chunk_types() {
        for bits in 0..16 {
            let set = Extensions::from_bits(bits);
            assert_eq!(set.to_bits(), bits);
            let types: Vec<u8> = set.chunk_types().collect();
            assert_eq!(types.len(), bits.count_ones() as usize);
            assert_eq!(Extensions::from_chunk_types(&types), set);
        }
        assert_eq!(Extensions::from_bits(0xF0), Extensions::NONE);
        assert_eq!(Extensions::from_chunk_types(&[0, 15, 193, 128, 130, 130]), Extensions::RE_CONFIG);
    }

    #[test]
    fn sets_combine() {
        let both = Extensions::RE_CONFIG.union(Extensions::I_DATA);
        assert!(both.contains(Extensions::RE_CONFIG) && both.contains(Extensions::I_DATA) && both.contains(both));
        assert!(!Extensions::RE_CONFIG.contains(both));
        assert_eq!(both.intersect(Extensions::I_DATA), Extensions::I_DATA);
        assert!(Extensions::NONE.is_empty() && both.intersect(Extensions::FORWARD_TSN).is_empty());
        assert_eq!(format!("{both:?}"), "Extensions[RE_CONFIG, I_DATA]");
    }
}
