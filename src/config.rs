//! The node's own settings, read once.
