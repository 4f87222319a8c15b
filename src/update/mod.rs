//! Other versions of this program, tried in place of the installed one: brought, checked, started, believed or given up.
//! Knows neither pods nor the broker, and who runs them.
//!
//! ```text
//! service manager ──► installed program ── reads state.json ──► itself, or execs DATA/versions/SHA256/pinnace
//!                          ▲                                         │ confirms itself, or writes why not
//!                          └──────────────── execs ──────────────────┘
//! ```
//!
//! The installed program is never written to, and every change of program passes through it: one place chooses
//! (`launch`), by rules that read no clock and no file (`decide`). A trial is counted on the disk before it is started, so
//! that one which dies at once, hangs, or is no program for this machine gives way without anybody's help.

mod bring;
pub mod decide;
mod download;
mod elf;
mod home;
pub mod launch;
pub mod signature;

pub use bring::{Brought, Listener, Source, bring};
pub use download::Effort;
pub use home::{Home, mark_of, probe, sha256_of};
pub use launch::{Here, leave};
