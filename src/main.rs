//! The binary: see [`estafette::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    estafette::cli::main()
}
