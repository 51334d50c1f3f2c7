//! The parameters of MAIL and RCPT.
//!
//! **Implements** RFC 5321 section 4.1.2 (esmtp-param), SIZE of RFC 1870, BODY of RFC 6152, AUTH of RFC
//! 4954, SMTPUTF8 of RFC 6531, REQUIRETLS of RFC 8689; RET, ENVID, NOTIFY and ORCPT of RFC 3461 as texts.
//! **Does not** know which extensions a session has announced: whoever asks compares with [`MailParameters::keywords`].
//! BINARYMIME (RFC 3030) is not taken: it cannot be promised that every next hop takes it.

use super::xtext::is_xtext;

/// What MAIL may carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// `SIZE=`, octets, as the peer estimates them.
    pub size_octets: Option<u64>,
    /// `BODY=`.
    pub body: Option<BodyType>,
    /// Whether `AUTH=` was given. Its value is not kept: RFC 4954 section 5 lets a server that does not trust the client
    /// treat it as `<>`.
    pub auth: bool,
    /// `SMTPUTF8`.
    pub smtputf8: bool,
    /// `REQUIRETLS`.
    pub require_tls: bool,
    /// `RET=`, not read yet.
    pub ret: Option<String>,
    /// `ENVID=`, not read yet.
    pub envelope_id: Option<String>,
}

/// What RCPT may carry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientParameters {
    /// `NOTIFY=`, not read yet.
    pub notify: Option<String>,
    /// `ORCPT=`, not read yet.
    pub original_recipient: Option<String>,
}

/// The value of `BODY=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyType {
    /// `7BIT`.
    SevenBit,
    /// `8BITMIME`.
    EightBitMime,
}

/// Why parameters are refused; the peer's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParameterError {
    /// The keyword belongs to no extension announced here.
    #[error("unsupported option: {0}")]
    Unknown(String),
    /// The value is not what the keyword takes.
    #[error("bad value of {0}")]
    BadValue(&'static str),
    /// The keyword stands twice.
    #[error("{0} given twice")]
    Repeated(&'static str),
    /// `BODY=BINARYMIME`: RFC 3030 section 3 lets nobody change such a message on its way to a host that does not take it.
    #[error("BODY=BINARYMIME is not supported: not every next hop takes it")]
    BinaryMime,
}

impl MailParameters {
    /// Reads the text behind the reverse-path.
    ///
    /// # Errors
    /// [`ParameterError`] says which parameter is wrong.
    pub fn parse(text: &str) -> Result<Self, ParameterError> {
        let mut parameters = Self::default();
        for word in text.split_ascii_whitespace() {
            let (keyword, value) = word.split_once('=').unwrap_or((word, ""));
            match keyword.to_ascii_uppercase().as_str() {
                "SIZE" => once(&mut parameters.size_octets, size_of(value), "SIZE")?,
                "BODY" if value.eq_ignore_ascii_case("BINARYMIME") => return Err(ParameterError::BinaryMime),
                "BODY" => once(&mut parameters.body, body_of(value), "BODY")?,
                "AUTH" => set(&mut parameters.auth, is_xtext(value), "AUTH")?,
                "SMTPUTF8" => set(&mut parameters.smtputf8, !word.contains('='), "SMTPUTF8")?,
                "REQUIRETLS" => set(&mut parameters.require_tls, !word.contains('='), "REQUIRETLS")?,
                "RET" => once(&mut parameters.ret, given(value), "RET")?,
                "ENVID" => once(&mut parameters.envelope_id, given(value), "ENVID")?,
                _ => return Err(ParameterError::Unknown(keyword.to_owned())),
            }
        }
        Ok(parameters)
    }

    /// The keywords that were given.
    pub fn keywords(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            (self.size_octets.is_some(), "SIZE"),
            (self.body.is_some(), "BODY"),
            (self.auth, "AUTH"),
            (self.smtputf8, "SMTPUTF8"),
            (self.require_tls, "REQUIRETLS"),
            (self.ret.is_some(), "RET"),
            (self.envelope_id.is_some(), "ENVID"),
        ];
        given
            .into_iter()
            .filter_map(|(is_given, keyword)| is_given.then_some(keyword))
    }
}

impl RecipientParameters {
    /// Reads the text behind the forward-path.
    ///
    /// # Errors
    /// [`ParameterError`] says which parameter is wrong.
    pub fn parse(text: &str) -> Result<Self, ParameterError> {
        let mut parameters = Self::default();
        for word in text.split_ascii_whitespace() {
            let (keyword, value) = word.split_once('=').unwrap_or((word, ""));
            match keyword.to_ascii_uppercase().as_str() {
                "NOTIFY" => once(&mut parameters.notify, given(value), "NOTIFY")?,
                "ORCPT" => once(&mut parameters.original_recipient, given(value), "ORCPT")?,
                _ => return Err(ParameterError::Unknown(keyword.to_owned())),
            }
        }
        Ok(parameters)
    }

    /// The keywords that were given.
    pub fn keywords(&self) -> impl Iterator<Item = &'static str> {
        let given = [
            (self.notify.is_some(), "NOTIFY"),
            (self.original_recipient.is_some(), "ORCPT"),
        ];
        given
            .into_iter()
            .filter_map(|(is_given, keyword)| is_given.then_some(keyword))
    }
}

/// Keeps the value of a parameter that may stand once.
fn once<T>(place: &mut Option<T>, value: Option<T>, keyword: &'static str) -> Result<(), ParameterError> {
    let value = value.ok_or(ParameterError::BadValue(keyword))?;
    match place.replace(value) {
        Some(_) => Err(ParameterError::Repeated(keyword)),
        None => Ok(()),
    }
}

/// Keeps that a parameter was given, which may stand once.
fn set(place: &mut bool, is_good: bool, keyword: &'static str) -> Result<(), ParameterError> {
    if !is_good {
        return Err(ParameterError::BadValue(keyword));
    }
    if std::mem::replace(place, true) {
        return Err(ParameterError::Repeated(keyword));
    }
    Ok(())
}

fn given(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

/// RFC 1870 section 3: 1 to 20 digits; more than fits is more than any limit.
fn size_of(value: &str) -> Option<u64> {
    let is_size = (1..=20).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
    is_size.then(|| value.parse().unwrap_or(u64::MAX))
}

fn body_of(value: &str) -> Option<BodyType> {
    if value.eq_ignore_ascii_case("7BIT") {
        Some(BodyType::SevenBit)
    } else if value.eq_ignore_ascii_case("8BITMIME") {
        Some(BodyType::EightBitMime)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_parameters_are_read() {
        let text = " size=1000 BODY=8bitmime smtputf8 RequireTLS ret=HDRS ENVID=QQ314159";
        let parameters = MailParameters {
            size_octets: Some(1000),
            body: Some(BodyType::EightBitMime),
            auth: false,
            smtputf8: true,
            require_tls: true,
            ret: Some("HDRS".into()),
            envelope_id: Some("QQ314159".into()),
        };
        let keywords: Vec<_> = parameters.keywords().collect();
        assert_eq!(keywords, ["SIZE", "BODY", "SMTPUTF8", "REQUIRETLS", "RET", "ENVID"]);
        assert_eq!(MailParameters::parse(text), Ok(parameters));
        for text in ["AUTH=<>", "auth=e+3Dmc2@example.com", "AUTH=+2B+20"] {
            assert!(
                MailParameters::parse(text).is_ok_and(|parameters| parameters.auth),
                "{text}"
            );
        }
        let huge = MailParameters::parse("SIZE=99999999999999999999");
        assert_eq!(huge.map(|p| p.size_octets), Ok(Some(u64::MAX)));
    }

    #[test]
    fn bad_parameters_are_refused() {
        for (text, why) in [
            ("SIZE=", ParameterError::BadValue("SIZE")),
            ("SIZE=-1", ParameterError::BadValue("SIZE")),
            ("SIZE", ParameterError::BadValue("SIZE")),
            ("BODY=9BIT", ParameterError::BadValue("BODY")),
            ("BODY=binarymime", ParameterError::BinaryMime),
            ("SIZE=1 SIZE=2", ParameterError::Repeated("SIZE")),
            ("BINARYMIME", ParameterError::Unknown("BINARYMIME".into())),
            ("SMTPUTF8=yes", ParameterError::BadValue("SMTPUTF8")),
            ("SMTPUTF8=", ParameterError::BadValue("SMTPUTF8")),
            ("SMTPUTF8 smtputf8", ParameterError::Repeated("SMTPUTF8")),
            ("RET", ParameterError::BadValue("RET")),
            ("ENVID=a ENVID=a", ParameterError::Repeated("ENVID")),
            ("NOTIFY=NEVER", ParameterError::Unknown("NOTIFY".into())),
            ("AUTH", ParameterError::BadValue("AUTH")),
            ("AUTH=", ParameterError::BadValue("AUTH")),
            ("AUTH=a=b", ParameterError::BadValue("AUTH")),
            ("AUTH=a+3d", ParameterError::BadValue("AUTH")),
            ("AUTH=a+é", ParameterError::BadValue("AUTH")),
            ("AUTH=<> AUTH=<>", ParameterError::Repeated("AUTH")),
        ] {
            assert_eq!(MailParameters::parse(text), Err(why), "{text}");
        }
        for (text, why) in [
            ("NOTIFY", ParameterError::BadValue("NOTIFY")),
            ("NOTIFY=NEVER notify=NEVER", ParameterError::Repeated("NOTIFY")),
            ("RET=FULL", ParameterError::Unknown("RET".into())),
        ] {
            assert_eq!(RecipientParameters::parse(text), Err(why), "{text}");
        }
    }
}
