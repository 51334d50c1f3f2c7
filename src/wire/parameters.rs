//! The parameters of MAIL and RCPT.
//!
//! **Implements** RFC 5321 section 4.1.2 (esmtp-param), SIZE of RFC 1870, BODY of RFC 6152, AUTH of RFC
//! 4954.
//! **Does not** know parameters of extensions that are not announced: they are refused.

/// What MAIL may carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// `SIZE=`, octets, as the peer estimates them.
    pub size_octets: Option<u64>,
    /// `BODY=`.
    pub body: Option<BodyType>,
    /// Whether `AUTH=` was given. Its value is not kept: RFC 4954 section 5 lets a server that does not trust the client
    /// treat it as `<>`.
    pub auth: bool,
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
            if keyword.eq_ignore_ascii_case("SIZE") {
                let size = size_of(value).ok_or(ParameterError::BadValue("SIZE"))?;
                if parameters.size_octets.replace(size).is_some() {
                    return Err(ParameterError::Repeated("SIZE"));
                }
            } else if keyword.eq_ignore_ascii_case("BODY") {
                let body = body_of(value).ok_or(ParameterError::BadValue("BODY"))?;
                if parameters.body.replace(body).is_some() {
                    return Err(ParameterError::Repeated("BODY"));
                }
            } else if keyword.eq_ignore_ascii_case("AUTH") {
                if !is_xtext(value) {
                    return Err(ParameterError::BadValue("AUTH"));
                }
                if std::mem::replace(&mut parameters.auth, true) {
                    return Err(ParameterError::Repeated("AUTH"));
                }
            } else {
                return Err(ParameterError::Unknown(keyword.to_owned()));
            }
        }
        Ok(parameters)
    }
}

/// Reads the text behind the forward-path, where no extension announced here puts anything.
///
/// # Errors
/// [`ParameterError::Unknown`] for any parameter.
pub fn parse_rcpt_parameters(text: &str) -> Result<(), ParameterError> {
    match text.split_ascii_whitespace().next() {
        Some(word) => {
            let keyword = word.split_once('=').map_or(word, |(keyword, _)| keyword);
            Err(ParameterError::Unknown(keyword.to_owned()))
        }
        None => Ok(()),
    }
}

/// RFC 1870 section 3: 1 to 20 digits; more than fits is more than any limit.
fn size_of(value: &str) -> Option<u64> {
    let is_size = (1..=20).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
    is_size.then(|| value.parse().unwrap_or(u64::MAX))
}

/// RFC 3461 section 4: printable octets, of which `+` begins two upper-case hexadecimal digits; `<>` is such a text.
fn is_xtext(value: &str) -> bool {
    let mut parts = value.split('+');
    let is_plain = |part: &str| part.bytes().all(|octet| octet.is_ascii_graphic() && octet != b'=');
    let is_escaped = |part: &str| {
        let hexadecimal = |octet: u8| octet.is_ascii_digit() || (b'A'..=b'F').contains(&octet);
        part.get(..2).is_some_and(|digits| digits.bytes().all(hexadecimal)) && is_plain(part)
    };
    !value.is_empty() && parts.next().is_some_and(is_plain) && parts.all(is_escaped)
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
        assert_eq!(
            MailParameters::parse(" size=1000 BODY=8bitmime"),
            Ok(MailParameters {
                size_octets: Some(1000),
                body: Some(BodyType::EightBitMime),
                auth: false,
            })
        );
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
            ("BODY=BINARYMIME", ParameterError::BadValue("BODY")),
            ("SIZE=1 SIZE=2", ParameterError::Repeated("SIZE")),
            ("SMTPUTF8", ParameterError::Unknown("SMTPUTF8".into())),
            ("AUTH", ParameterError::BadValue("AUTH")),
            ("AUTH=", ParameterError::BadValue("AUTH")),
            ("AUTH=a=b", ParameterError::BadValue("AUTH")),
            ("AUTH=a+3d", ParameterError::BadValue("AUTH")),
            ("AUTH=a+é", ParameterError::BadValue("AUTH")),
            ("AUTH=<> AUTH=<>", ParameterError::Repeated("AUTH")),
        ] {
            assert_eq!(MailParameters::parse(text), Err(why), "{text}");
        }
        assert_eq!(
            parse_rcpt_parameters("NOTIFY=NEVER"),
            Err(ParameterError::Unknown("NOTIFY".into()))
        );
    }
}
