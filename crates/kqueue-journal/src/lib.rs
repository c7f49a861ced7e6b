//! See docs/plan.md.
#![no_std]
extern crate alloc;
