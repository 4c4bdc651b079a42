//! narrowboat
