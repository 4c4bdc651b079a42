//! Configurations whose ranges were checked.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// A configuration value outside its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {value}, but must be {range}")]
#[non_exhaustive]
pub struct ConfigError {
    /// Name of the field.
    pub field: &'static str,
    /// The value that it has.
    pub value: String,
    /// The values that it may have.
    pub range: &'static str,
}

impl ConfigError {
    /// Returns an error about `field` unless `is_valid`.
    ///
    /// # Errors
    ///
    /// The value is outside of `range`.
    pub fn check(is_valid: bool, field: &'static str, value: impl fmt::Debug, range: &'static str) -> Result<(), Self> {
        if is_valid { Ok(()) } else { Err(Self { field, value: format!("{value:?}"), range }) }
    }
}

/// A configuration that can check itself, so that [`Valid`] can hold it. Its default must be valid.
pub trait Validate {
    /// Checks every range.
    ///
    /// # Errors
    ///
    /// The first field that is outside its range.
    fn validate(&self) -> Result<(), ConfigError>;
}

/// A configuration in which every field is in its range: it was checked when it was made, and cannot be changed.
///
/// Clones share one copy of the configuration.
///
/// ```
/// # use narrowboat_sctp::{AssociationConfig, Valid};
/// let config = Valid::new(AssociationConfig { mtu: 1400, ..AssociationConfig::default() })?;
/// assert_eq!(config.mtu, 1400);
/// let error = Valid::new(AssociationConfig { mtu: 0, ..AssociationConfig::default() }).unwrap_err();
/// assert_eq!(error.to_string(), "mtu is 0, but must be 576 to 65487 bytes");
/// # Ok::<(), narrowboat_sctp::ConfigError>(())
/// ```
pub struct Valid<C>(pub(super) Arc<C>);

impl<C: Validate> Valid<C> {
    /// Checks a configuration.
    ///
    /// # Errors
    ///
    /// The first field that is outside its range.
    pub fn new(config: C) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self(Arc::new(config)))
    }
}

impl<C: Validate + Clone> Valid<C> {
    /// Returns a checked copy in which some fields have other values.
    ///
    /// # Errors
    ///
    /// The first field that is outside its range.
    pub fn with(&self, set: impl FnOnce(&mut C)) -> Result<Self, ConfigError> {
        let mut config = C::clone(self);
        set(&mut config);
        Self::new(config)
    }
}

impl<C> Deref for Valid<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.0
    }
}

impl<C> Clone for Valid<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C: Validate + Default> Default for Valid<C> {
    fn default() -> Self {
        let config = C::default();
        debug_assert_eq!(config.validate(), Ok(()), "a default is out of range");
        Self(Arc::new(config))
    }
}

impl<C: PartialEq> PartialEq for Valid<C> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<C: fmt::Debug> fmt::Debug for Valid<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
