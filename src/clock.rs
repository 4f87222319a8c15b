//! The only reader of the clocks.
