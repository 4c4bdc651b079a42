//! Entry functions of fuzz targets for associations and their channels. Only tests and fuzzers compile them.

mod model;
mod pair;
mod script;
#[cfg(test)]
mod tests;

/// Runs two ends of a byte stream with the network between them: a first byte for the kind of stream, then two bytes
/// for each operation. The model knows what each end may read, and with which errors.
pub fn byte_streams(script: &[u8]) {
    script::run(script);
}
