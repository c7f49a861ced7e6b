//! Support for the cross-process tests.
