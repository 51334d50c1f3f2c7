//! HELO and EHLO: what the peer calls itself.
//!
//! **Implements** RFC 5321 section 4.1.1.1, as leniently as Postfix: any printable word is a name.

/// What a greeting told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// The name given.
    pub(super) name: String,
    /// Whether it was EHLO.
    pub(super) extended: bool,
}

/// Whether the peer has greeted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Greeting {
    /// Not yet; `smtpd_helo_required` says whether it must.
    NotYet,
    /// Forgotten when TLS began: RFC 3207 section 4.2 wants a new one.
    Forgotten,
    /// It has.
    Said(Hello),
}

/// The name behind HELO or EHLO; `None` when it is missing, of several words or not printable ASCII.
pub(super) fn name_of(argument: &str) -> Option<String> {
    let is_name = (1..=255).contains(&argument.len()) && argument.bytes().all(|octet| octet.is_ascii_graphic());
    is_name.then(|| argument.to_owned())
}

impl Greeting {
    /// The name given, or nothing.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Said(hello) => &hello.name,
            Self::NotYet | Self::Forgotten => "",
        }
    }

    /// Whether the peer said EHLO.
    pub(super) fn is_extended(&self) -> bool {
        matches!(self, Self::Said(hello) if hello.extended)
    }

    /// Whether MAIL may follow.
    pub(super) fn allows_mail(&self, hello_required: bool) -> bool {
        match self {
            Self::Said(_) => true,
            Self::NotYet => !hello_required,
            Self::Forgotten => false,
        }
    }
}
