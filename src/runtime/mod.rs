//! Carries out effects on Linux and reports what it sees.
