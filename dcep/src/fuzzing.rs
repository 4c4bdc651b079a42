//! Entry functions of fuzz targets for what is private. Only tests and fuzzers compile them.

use crate::control::{Control, Decoded};
use crate::open;

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

/// Decodes DCEP messages: an OPEN that was read, written and read again must be the same.
pub fn control(bytes: &[u8]) {
    if let Ok(Decoded { control: Control::Open(options), .. }) = Decoded::new(bytes) {
        let again = Decoded::new(&open::encode(&options));
        let expected = Decoded { control: Control::Open(options), has_trailing_bytes: false };
        assert!(again.as_ref() == Ok(&expected), "{expected:?} becomes {again:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::replay::replay;

    #[test]
    fn the_corpus_of_dcep_passes_what_its_fuzz_target_checks() {
        replay("dcep", 5, super::control);
    }
}
