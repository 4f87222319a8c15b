//! Picks the role from the arguments: node or verb.
fn main() {}
