//! Writes the seeds of every target: `seeds FOLDER`.

use std::path::Path;

fn main() {
    let folder = std::env::args().nth(1).expect("a folder for the seeds");
    let count = estafette_fuzz::seeds::write(Path::new(&folder)).expect("seeds written");
    println!("{count} seeds");
}
