//! What is said about AUTH.
//!
//! **Implements** the codes of RFC 4954 sections 4 and 6, in Postfix's wording where it has one.

use super::policy::policy;
use crate::session::event::{AuthenticationFault, CertificateFault};
use crate::session::password::PasswordFault;
use crate::session::settings::SessionSettings;
use crate::wire::base64;
use crate::wire::reply::Reply;

/// 334 behind AUTH, with this text as the challenge.
pub fn challenge(text: &str) -> Reply {
    Reply::bare(334, vec![base64::encode(text.as_bytes())])
}

/// AUTH.
pub fn authenticated() -> Reply {
    Reply::new(235, (2, 7, 0), "Authentication successful")
}

/// AUTH that failed, and why.
pub fn authentication_failed(because: &AuthenticationFault, settings: &SessionSettings, reference: &str) -> Reply {
    let why = match because {
        AuthenticationFault::Certificate(CertificateFault::NotShown) => "no client certificate was shown".to_owned(),
        AuthenticationFault::Certificate(CertificateFault::Unverified(why)) => format!("your {why}"),
        AuthenticationFault::NotNamed(_) => "your certificate does not name this authorization identity".to_owned(),
        AuthenticationFault::Password { fault, .. } => return password_refused(fault, settings, reference),
    };
    failed(&why, reference)
}

fn failed(why: &str, reference: &str) -> Reply {
    let text = format!("Error: authentication failed: {why}");
    policy(535, (5, 7, 8), &text, reference)
}

fn password_refused(fault: &PasswordFault, settings: &SessionSettings, reference: &str) -> Reply {
    let temporary = |why: &str| {
        let text = format!("Temporary authentication failure: {why}");
        policy(454, (4, 7, 0), &text, reference)
    };
    match fault {
        // The service's name and trouble are the log's.
        PasswordFault::Unavailable(_) => temporary("passwords cannot be checked now, try again later"),
        PasswordFault::LoginExceeded => temporary("too many failures, try again later"),
        PasswordFault::AddressExceeded => {
            let text = format!(
                "{} Error: too many failed logins from your address",
                settings.myhostname
            );
            policy(421, (4, 7, 0), &text, reference)
        }
        PasswordFault::NotAuthorized(_) => failed("you may not act as this authorization identity", reference),
        other => failed(&other.to_string(), reference),
    }
}

/// AUTH where the settings do not offer it.
pub fn authentication_not_enabled() -> Reply {
    Reply::new(503, (5, 5, 1), "Error: authentication not enabled")
}

/// AUTH again.
pub fn already_authenticated() -> Reply {
    Reply::new(503, (5, 5, 1), "Error: already authenticated")
}

/// AUTH within a transaction.
pub fn transaction_in_progress() -> Reply {
    Reply::new(503, (5, 5, 1), "Error: MAIL transaction in progress")
}

/// AUTH before TLS.
pub fn encryption_required() -> Reply {
    let text = "Encryption required for requested authentication mechanism";
    Reply::new(538, (5, 7, 11), text)
}

/// AUTH with a mechanism that is not taken here.
pub fn unknown_mechanism() -> Reply {
    Reply::new(504, (5, 5, 4), "Error: unrecognized authentication mechanism")
}

/// A response that is not Base64, or stands for nothing that the mechanism takes.
pub fn bad_response() -> Reply {
    Reply::new(501, (5, 5, 2), "Error: cannot decode the response")
}

/// A response beyond RFC 4954 section 4.
pub fn response_too_long() -> Reply {
    Reply::new(500, (5, 5, 6), "Error: authentication exchange line is too long")
}

/// `*` instead of a response.
pub fn authentication_cancelled() -> Reply {
    Reply::new(501, (5, 7, 0), "Authentication cancelled")
}
