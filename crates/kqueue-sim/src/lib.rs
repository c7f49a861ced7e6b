//! See docs/plan.md.
