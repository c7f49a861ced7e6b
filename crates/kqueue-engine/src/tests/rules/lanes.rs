//! Priorities, delays, dead letters, keys, pauses and walks.
