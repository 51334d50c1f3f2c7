//! Names and passwords as clients hand them in: the mechanisms PLAIN and LOGIN.
//!
//! **Implements** RFC 4616 (PLAIN) and the expired draft-murchison-sasl-login that mail clients follow (LOGIN).
//! **Does not** prepare strings (RFC 4013): login and password count octet for octet.

use std::fmt;

use zeroize::Zeroize;

/// The longest login, octets.
pub const LOGIN_OCTETS_MAX: usize = 255;
/// The longest password, octets (RFC 4616 section 2 asks for as many).
pub const PASSWORD_OCTETS_MAX: usize = 1024;

/// A mechanism that hands the password over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordMechanism {
    /// RFC 4616.
    Plain,
    /// Two challenges.
    Login,
}

impl PasswordMechanism {
    /// The mechanism of that name, in any letter case.
    pub fn of(name: &str) -> Option<Self> {
        [Self::Plain, Self::Login]
            .into_iter()
            .find(|mechanism| name.eq_ignore_ascii_case(mechanism.name()))
    }

    /// As it stands behind AUTH.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }
}

/// Which of the two a password service takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PasswordMechanisms {
    /// PLAIN.
    pub plain: bool,
    /// LOGIN.
    pub login: bool,
}

impl PasswordMechanisms {
    /// Both.
    pub const BOTH: Self = Self {
        plain: true,
        login: true,
    };

    /// Whether it takes this one.
    pub const fn has(self, mechanism: PasswordMechanism) -> bool {
        match mechanism {
            PasswordMechanism::Plain => self.plain,
            PasswordMechanism::Login => self.login,
        }
    }

    /// The names, in the order they are announced.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [PasswordMechanism::Plain, PasswordMechanism::Login];
        all.into_iter()
            .filter(move |m| self.has(*m))
            .map(PasswordMechanism::name)
    }
}

/// Octets that are overwritten when they are no longer needed and that no `Debug` prints.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the octets over.
    pub const fn new(octets: Vec<u8>) -> Self {
        Self(octets)
    }

    /// The octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a client says about itself with a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// How it was said.
    pub mechanism: PasswordMechanism,
    /// Whom to act as (RFC 4616 `authzid`); empty: oneself.
    pub authorization: String,
    /// Whose password it is (`authcid`); never empty, no control characters.
    pub login: String,
    /// The password; it may be empty.
    pub password: Secret,
}

impl Credentials {
    /// Reads the decoded response of PLAIN: `[authzid] NUL authcid NUL passwd`. `None` when it is none.
    pub fn of_plain(message: &[u8]) -> Option<Self> {
        let mut parts = message.split(|octet| *octet == 0);
        let (authorization, login, password) = (parts.next()?, parts.next()?, parts.next()?);
        let password = password_of(password)?;
        let authorization = match authorization {
            [] => String::new(),
            named => login_of(named)?,
        };
        let login = login_of(login)?;
        parts.next().is_none().then_some(Self {
            mechanism: PasswordMechanism::Plain,
            authorization,
            login,
            password,
        })
    }

    /// The two decoded responses of LOGIN; `None` when the password is none.
    pub fn of_login(login: String, password: &[u8]) -> Option<Self> {
        Some(Self {
            mechanism: PasswordMechanism::Login,
            authorization: String::new(),
            login,
            password: password_of(password)?,
        })
    }

    /// Adds a realm to names without one (`smtpd_sasl_local_domain`).
    #[must_use]
    pub fn within(mut self, realm: &str) -> Self {
        for name in [&mut self.authorization, &mut self.login] {
            if !realm.is_empty() && !name.is_empty() && !name.contains('@') {
                name.push('@');
                name.push_str(realm);
            }
        }
        self
    }

    /// The response of PLAIN again.
    pub fn to_plain(&self) -> Secret {
        let parts = [
            self.authorization.as_bytes(),
            &[0],
            self.login.as_bytes(),
            &[0],
            self.password.octets(),
        ];
        Secret::new(parts.concat())
    }
}

/// A login: UTF-8 without control characters, not empty, not endless.
pub fn login_of(octets: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(octets).ok()?;
    let is_login = (1..=LOGIN_OCTETS_MAX).contains(&text.len()) && !text.chars().any(char::is_control);
    is_login.then(|| text.to_owned())
}

fn password_of(octets: &[u8]) -> Option<Secret> {
    let is_password = octets.len() <= PASSWORD_OCTETS_MAX && !octets.contains(&0);
    is_password.then(|| Secret::new(octets.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_of_the_standard_is_read_and_written_again() {
        for (message, authorization) in [
            ("\0tim\0tanstaaftanstaaf", ""),
            ("Ursel\0tim\0tanstaaftanstaaf", "Ursel"),
        ] {
            let read = Credentials::of_plain(message.as_bytes()).unwrap();
            assert_eq!(
                (read.authorization.as_str(), read.login.as_str()),
                (authorization, "tim")
            );
            assert_eq!(read.to_plain().octets(), message.as_bytes());
            assert!(!format!("{read:?}").contains("tanstaaf"));
        }
    }

    #[test]
    fn plain_that_is_none_is_refused() {
        let long = format!("\0{}\0x", "l".repeat(LOGIN_OCTETS_MAX + 1));
        let endless = format!("\0l\0{}", "p".repeat(PASSWORD_OCTETS_MAX + 1));
        for message in [
            "",
            "tim",
            "\0tim",
            "\0\0x",
            "\0tim\0x\0",
            "\0t\nm\0x",
            "a\tb\0tim\0x",
            &long,
            &endless,
        ] {
            assert_eq!(Credentials::of_plain(message.as_bytes()), None, "{message:?}");
        }
        assert_eq!(Credentials::of_plain(b"\0t\xff\0x"), None);
        assert!(
            Credentials::of_plain(b"\0tim\0\xff").is_some(),
            "a password may be any octets"
        );
    }

    #[test]
    fn realm_is_added_to_names_without_one() {
        let read = |message: &str| Credentials::of_plain(message.as_bytes()).unwrap().within("example.org");
        assert_eq!(read("\0tim\0x").login, "tim@example.org");
        assert_eq!(read("\0tim\0x").authorization, "");
        assert_eq!(read("\0tim@lab\0x").login, "tim@lab");
        assert_eq!(Credentials::of_plain(b"\0tim\0x").unwrap().within("").login, "tim");
    }
}
