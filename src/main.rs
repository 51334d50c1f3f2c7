//! The binary: see [`estafette::cli`].

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// A message's blocks are given back on another thread than they were taken on.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    estafette::cli::main()
}
