//! The client of registries against servers: a fake one that does every wrong thing (`faults`, `logins`), and Debian's
//! `docker-registry`, filled by skopeo (`real`). Images are unpacked as root alone; as another user these tests say so and end.

#[path = "registry/fake.rs"]
mod fake;
#[path = "registry/faults.rs"]
mod faults;
#[path = "registry/logins.rs"]
mod logins;
#[path = "registry/node.rs"]
mod node;
#[path = "registry/real.rs"]
mod real;
