//! What is answered to XCLIENT, in Postfix's words.

use crate::wire::reply::Reply;

/// The attributes, as EHLO announces them.
pub const XCLIENT: &str = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT REVERSE_NAME";

/// A word without `=`.
pub fn attribute_expected() -> Reply {
    Reply::new(501, (5, 5, 4), "Error: attribute=value expected")
}

/// A value that is not what its attribute wants.
pub fn bad_attribute(key: &str, value: &str) -> Reply {
    Reply::new(501, (5, 5, 4), format!("Bad {key} syntax: {value}"))
}

/// An attribute that is not announced.
pub fn unknown_attribute(key: &str) -> Reply {
    Reply::new(501, (5, 5, 4), format!("Bad XCLIENT attribute name: {key}"))
}

/// From a host that is not in `smtpd_authorized_xclient_hosts`.
pub fn insufficient_authorization() -> Reply {
    Reply::new(550, (5, 7, 0), "Error: insufficient authorization")
}
