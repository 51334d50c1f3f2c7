//! VRFY: nobody is told who exists (RFC 5321 section 3.5.3).

use super::connection::Connection;
use super::extension::Extension;
use super::replies;
use super::state::State;
use crate::wire::reply::Charset;

impl State {
    /// RFC 6531 section 3.7.4.2: SMTPUTF8 behind the address lets it, and the answer, hold UTF-8.
    pub(super) fn on_vrfy(self, argument: &str, connection: &mut Connection) -> Self {
        if connection.settings.vrfy_disabled || connection.hides(Extension::Vrfy) {
            return self.refuse(replies::disabled("VRFY"), connection);
        }
        let (address, is_utf8) = match argument.rsplit_once([' ', '\t']) {
            Some((address, word))
                if word.eq_ignore_ascii_case("SMTPUTF8") && connection.offers(Extension::SmtpUtf8) =>
            {
                (address.trim_end(), true)
            }
            _ => (argument, false),
        };
        if address.is_empty() {
            return self.refuse(replies::usage("VRFY address"), connection);
        }
        if !address.is_ascii() && !is_utf8 {
            return self.refuse(replies::cannot_verify_utf8(), connection);
        }
        if is_utf8 {
            connection.charset = Charset::Utf8;
        }
        self.answer(&replies::cannot_verify(address), connection)
    }
}
