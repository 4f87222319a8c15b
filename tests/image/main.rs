//! The image store from outside: archives of every kind in, trees and archives out, and nothing beside it, whatever comes.
//!
//! Images are unpacked by root alone. As an ordinary user these tests check that refusal, and say that they checked no more.

mod bad;
mod crash;
mod fuzz;
mod good;
mod listing;
mod make;
mod tools;
mod whole;
mod world;
