//! Entry functions of fuzz targets for what is private. Only tests and fuzzers compile them.

use crate::control::{Control, Decoded};
use crate::open;

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

/// DCEP messages: what decodes as an OPEN says the same after it was written and read again.
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
