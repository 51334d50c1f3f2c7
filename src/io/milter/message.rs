//! One message on its way through the filters: its header as fields, its body in a spool.

use std::path::{Path, PathBuf};

use super::spool::{Spool, SpoolError};
use crate::mail::header_fields::{Header, HeaderReader, HeaderTooLong};

/// A message as it stands between two filters.
#[derive(Debug)]
pub struct Message {
    directory: PathBuf,
    reading: Option<HeaderReader>,
    /// Octets received before the body begins.
    header_octets: usize,
    too_long: Option<HeaderTooLong>,
    /// Complete once the message has ended.
    pub(super) header: Header,
    /// `None` when the message has no empty line, and so no body.
    pub(super) body: Option<Spool>,
}

impl Message {
    /// Nothing yet; what is too large for memory is kept in a file of this directory that has no name.
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            reading: None,
            header_octets: 0,
            too_long: None,
            header: Header::default(),
            body: None,
        }
    }

    /// Adds octets: first what goes ahead of the message, our trace header last, then content.
    ///
    /// # Errors
    /// [`SpoolError`].
    pub async fn append(&mut self, octets: &[u8]) -> Result<(), SpoolError> {
        if let Some(body) = &mut self.body {
            return body.append(octets).await;
        }
        if self.too_long.is_some() {
            return Ok(());
        }
        self.header_octets = self.header_octets.saturating_add(octets.len());
        let Some(reading) = &mut self.reading else {
            self.reading = Some(HeaderReader::beginning_with(octets.to_vec()));
            return Ok(());
        };
        match reading.take(octets) {
            Ok(None) => Ok(()),
            Ok(Some(begun)) => {
                let mut body = self.new_body();
                body.append(&begun).await?;
                self.body = Some(body);
                Ok(())
            }
            Err(why) => {
                self.too_long = Some(why);
                Ok(())
            }
        }
    }

    /// Octets of it in memory.
    pub fn memory_octets(&self) -> usize {
        let body = self.body.as_ref().map_or(0, Spool::memory_octets);
        self.header_octets.saturating_add(body)
    }

    /// The content has ended.
    ///
    /// # Errors
    /// [`HeaderTooLong`].
    pub fn finish(&mut self) -> Result<(), HeaderTooLong> {
        if let Some(why) = self.too_long {
            return Err(why);
        }
        if let Some(reading) = self.reading.take() {
            self.header = reading.finish();
        }
        Ok(())
    }

    /// The value of Message-ID.
    pub fn message_id(&self) -> Option<String> {
        let is_message_id = |name: &[u8]| name.eq_ignore_ascii_case(b"Message-ID");
        let field = self.header.received().find(|field| is_message_id(field.name()))?;
        Some(String::from_utf8_lossy(field.value().trim_ascii()).into_owned())
    }

    /// Nothing to put a body in yet.
    pub(super) fn new_body(&self) -> Spool {
        Spool::new(&self.directory)
    }

    /// The header as it goes on, with the empty line that ends it.
    pub fn header_octets(&self) -> Vec<u8> {
        let mut octets = self.header.to_octets();
        if self.body.is_some() {
            octets.extend_from_slice(b"\r\n");
        }
        octets
    }

    /// A piece of the body from this place on; empty at its end.
    ///
    /// # Errors
    /// [`SpoolError::Io`].
    pub async fn body_piece(&self, offset: u64) -> Result<Vec<u8>, SpoolError> {
        match &self.body {
            Some(body) => body.read(offset).await,
            None => Ok(Vec::new()),
        }
    }
}
