//! The loop: observe, step, commit, apply, act, report; in that order, always. It carries events in and effects out and
//! decides nothing.
