//! The certificates of a PEM file that a rule names.

use std::path::Path;
use std::sync::Arc;

use crate::cert::certificate::Certificate;
use crate::cert::decode;
use crate::io::tls::pem;

/// All of them, in their order.
///
/// # Errors
/// What is wrong with the file, in a sentence.
pub fn read(path: &Path) -> Result<Vec<Arc<Certificate>>, String> {
    let sections = pem::certificates(path).map_err(|error| error.to_string())?;
    let decoded = sections.iter().enumerate().map(|(n, der)| {
        let certificate = decode::decode(der).map(Arc::new);
        certificate.map_err(|error| format!("{}: certificate {}: {error}", path.display(), n + 1))
    });
    decoded.collect()
}
