//! Says that it is pinnace when it is asked for its version, and is none: as a node it ends at once, or hangs where its file
//! ends with `hang`. `run` builds it; `guest/stage_update.py` has it tried.

fn main() {
    if std::env::args().any(|word| word == "--version") {
        println!("pinnace 9.9.9");
        return;
    }
    let own = std::fs::read("/proc/self/exe").unwrap_or_default();
    while own.ends_with(b"hang") {
        std::thread::sleep(std::time::Duration::from_secs(3600));
    }
    eprintln!("this version is no good");
    std::process::exit(3);
}
