//! Randomness of the system.

use std::io;

use rand::TryRng;
use rand::rngs::SysRng;

use crate::error::BindError;

/// Draws a seed. All secrets of an endpoint come from such seeds: cookie keys, Verification Tags, initial TSNs,
/// passwords.
pub(super) fn draw_seed() -> Result<[u8; 32], BindError> {
    let mut seed = [0; 32];
    SysRng.try_fill_bytes(&mut seed).map_err(|error| BindError::Random(io::Error::other(error)))?;
    Ok(seed)
}
