//! The embedded password file: logins with argon2id hashes.
//!
//! **Implements** `smtpd_sasl_type = "file"`: lines `login:$argon2id$...`, comments with `#`.
//! **Does not** watch the file: a reload reads it again.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordHasher as _, PasswordVerifier as _};

use crate::wire::sasl::login_of;

/// Largest file, octets.
const FILE_OCTETS_MAX: u64 = 16 * 1024 * 1024;
/// The most memory of one verification that a hash may ask for, KiB.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
/// The most passes over that memory.
const PASSES_MAX: u32 = 16;
/// The most lanes.
const LANES_MAX: u32 = 16;
/// The most work: memory times passes, KiB.
const WORK_KIB_MAX: u32 = 1024 * 1024;
/// The salt of a new hash, octets (RFC 9106 section 3.1).
const SALT_OCTETS: usize = 16;

/// A hash of nothing, with the costs of those that are made here: verified for a login that nobody has while the file is
/// empty, so that it takes as long.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5IG5vYm9keSE$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineFault {
    /// Not text.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// Not `login:hash`.
    #[error("expected login:$argon2id$..., as estafette passwd writes it")]
    NoHash,
    /// The login is none.
    #[error(
        "the login is empty, longer than 255 octets, or holds white space at its ends, '#' at its beginning or a control character"
    )]
    Login,
    /// Another kind of hash.
    #[error("the hash is not of argon2id in version 19: make a new one with estafette passwd")]
    Algorithm,
    /// Costs out of bounds.
    #[error("the hash asks for {0}, more than the {1} that are allowed here")]
    Cost(String, &'static str),
    /// The login stands above already, on that line.
    #[error("\"{0}\" stands on line {1} already")]
    Repeated(String, usize),
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordFileError {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Larger than `FILE_OCTETS_MAX`.
    #[error("is larger than {FILE_OCTETS_MAX} octets")]
    TooLarge,
    /// A line is wrong; counted from 1.
    #[error("line {0}: {1}")]
    Line(usize, LineFault),
}

/// The logins and what verifies their passwords.
#[derive(Debug)]
pub struct PasswordFile {
    hashes: HashMap<String, PasswordHash>,
    /// Verified for a login that is not there.
    nobody: Option<PasswordHash>,
    /// Whether every user of this machine can read it.
    pub is_readable_by_all: bool,
}

impl PasswordFile {
    /// No login.
    pub fn empty() -> Self {
        Self::of(HashMap::new())
    }

    fn of(hashes: HashMap<String, PasswordHash>) -> Self {
        // All hashes that are made here cost the same: one that is there is the best model for those that are not.
        let nobody = hashes.values().next().cloned();
        Self {
            nobody: nobody.or_else(|| PasswordHash::new(NOBODY).ok()),
            hashes,
            is_readable_by_all: false,
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`PasswordFileError`], with the line.
    pub fn read(path: &Path) -> Result<Self, PasswordFileError> {
        let (octets, mode) = read_octets(path)?;
        Ok(Self {
            is_readable_by_all: mode & 0o004 != 0,
            ..Self::of(parse(&octets)?)
        })
    }

    /// Whether this is the password of the login. Takes as long for a login that is not there; blocks for some 20 ms and
    /// takes the memory that the hash asks for.
    pub fn verify(&self, login: &str, password: &[u8]) -> bool {
        let known = self.hashes.get(login);
        let Some(hash) = known.or(self.nobody.as_ref()) else {
            return false;
        };
        let is_right = Argon2::default().verify_password(password, hash).is_ok();
        is_right && known.is_some()
    }

    /// All logins, in no order.
    pub fn logins(&self) -> impl Iterator<Item = &str> {
        self.hashes.keys().map(String::as_str)
    }
}

/// The octets of the file and its mode.
///
/// # Errors
/// [`PasswordFileError`].
pub fn read_octets(path: &Path) -> Result<(Vec<u8>, u32), PasswordFileError> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is not a regular file").into());
    }
    let mut octets = Vec::new();
    file.take(FILE_OCTETS_MAX + 1).read_to_end(&mut octets)?;
    if octets.len() as u64 > FILE_OCTETS_MAX {
        return Err(PasswordFileError::TooLarge);
    }
    Ok((octets, metadata.permissions().mode()))
}

/// Reads all lines.
///
/// # Errors
/// [`PasswordFileError::Line`].
pub fn parse(octets: &[u8]) -> Result<HashMap<String, PasswordHash>, PasswordFileError> {
    let mut hashes = HashMap::new();
    let mut lines: HashMap<String, usize> = HashMap::new();
    for (index, line) in octets.split(|octet| *octet == b'\n').enumerate() {
        let number = index + 1;
        let wrong = |fault| PasswordFileError::Line(number, fault);
        let Some((login, hash)) = read_line(line).map_err(wrong)? else {
            continue;
        };
        if let Some(first) = lines.insert(login.to_owned(), number) {
            return Err(wrong(LineFault::Repeated(login.to_owned(), first)));
        }
        hashes.insert(login.to_owned(), hash);
    }
    Ok(hashes)
}

/// The login of a line and its hash; `None` for a comment or an empty line.
///
/// # Errors
/// [`LineFault`].
pub fn read_line(line: &[u8]) -> Result<Option<(&str, PasswordHash)>, LineFault> {
    let text = std::str::from_utf8(line).map_err(|_| LineFault::NotUtf8)?;
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.trim().is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let (login, hash) = text.split_once(':').ok_or(LineFault::NoHash)?;
    if !is_login(login) {
        return Err(LineFault::Login);
    }
    let hash = PasswordHash::new(hash.trim_end()).map_err(|_| LineFault::NoHash)?;
    check_costs(&hash)?;
    Ok(Some((login, hash)))
}

/// Whether a login can stand in the file.
pub fn is_login(login: &str) -> bool {
    login_of(login.as_bytes()).is_some() && login.trim() == login && !login.starts_with('#') && !login.contains(':')
}

fn check_costs(hash: &PasswordHash) -> Result<(), LineFault> {
    if hash.algorithm.as_str() != "argon2id" || hash.version.is_some_and(|version| version != 19) {
        return Err(LineFault::Algorithm);
    }
    let params = Params::try_from(hash).map_err(|_| LineFault::NoHash)?;
    if hash.salt.is_none() || hash.hash.is_none() {
        return Err(LineFault::NoHash);
    }
    let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
    if memory > MEMORY_KIB_MAX {
        return Err(LineFault::Cost(format!("{memory} KiB of memory (m)"), "262144 KiB"));
    }
    if passes > PASSES_MAX || lanes > LANES_MAX {
        return Err(LineFault::Cost(format!("t={passes} and p={lanes}"), "16 and 16"));
    }
    if memory.saturating_mul(passes) > WORK_KIB_MAX {
        return Err(LineFault::Cost(
            format!("m times t = {}", memory.saturating_mul(passes)),
            "1048576",
        ));
    }
    Ok(())
}

/// A hash of a password, with a salt of its own.
///
/// # Errors
/// In words: the system has no random numbers.
pub fn hash(password: &[u8]) -> Result<String, String> {
    let mut salt = [0; SALT_OCTETS];
    aws_lc_rs::rand::fill(&mut salt).map_err(|_| "the system has no random numbers".to_owned())?;
    let made = Argon2::default().hash_password_with_salt(password, &salt);
    made.map(|hash: PasswordHash| hash.to_string())
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        parse(text.as_bytes())
            .err()
            .map_or_else(String::new, |error| error.to_string())
    }

    #[test]
    fn passwords_verify_and_others_do_not() {
        let text = format!(
            "# people\n\ntim:{}\nañ b@x:{}\r\n",
            hash(b"secret").unwrap(),
            hash(b"\xff").unwrap()
        );
        let file = PasswordFile::of(parse(text.as_bytes()).unwrap());
        assert!(file.verify("tim", b"secret") && file.verify("añ b@x", b"\xff"));
        for (login, password) in [
            ("tim", &b"Secret"[..]),
            ("tim", b""),
            ("Tim", b"secret"),
            ("bob", b"secret"),
        ] {
            assert!(!file.verify(login, password), "{login}");
        }
        assert!(!PasswordFile::empty().verify("tim", b""));
        assert!(PasswordFile::empty().nobody.is_some());
    }

    #[test]
    fn model_for_unknown_logins_costs_what_new_hashes_cost() {
        let costs = |text: &str| Params::try_from(&PasswordHash::new(text).unwrap()).unwrap();
        let (made, nobody) = (costs(&hash(b"x").unwrap()), costs(NOBODY));
        assert_eq!(made.m_cost(), nobody.m_cost());
        assert_eq!((made.t_cost(), made.p_cost()), (nobody.t_cost(), nobody.p_cost()));
    }

    #[test]
    fn wrong_lines_are_told_with_their_number() {
        let good = hash(b"x").unwrap();
        for (line, words) in [
            ("tim".to_owned(), "line 2: expected login:$argon2id$"),
            ("tim:secret".to_owned(), "line 2: expected"),
            (format!(":{good}"), "line 2: the login is empty"),
            (format!(" tim:{good}"), "line 2: the login"),
            (format!("t\tm:{good}"), "line 2: the login"),
            (
                good.replacen("$argon2id", "tim:$argon2i", 1),
                "line 2: the hash is not of argon2id",
            ),
            (
                format!("tim:{}", good.replace("v=19", "v=16")),
                "line 2: the hash is not of argon2id",
            ),
            (
                format!("tim:{}", good.replace("m=19456", "m=999999999")),
                "line 2: the hash asks for 999999999 KiB",
            ),
            (
                format!("tim:{}", good.replace("t=2", "t=17")),
                "line 2: the hash asks for t=17",
            ),
            (
                format!("tim:{}", good.replace("m=19456,t=2", "m=262144,t=5")),
                "line 2: the hash asks for m times t",
            ),
            (format!("tim:{}", good.replace("p=1$", "p=0$")), "line 2: expected"),
            (format!("tim:{}", &good[..60]), "line 2: expected"),
            ("tim:$6$salt$hash".to_owned(), "line 2:"),
            (
                format!("tim:{good}\n#\ntim:{good}"),
                "line 4: \"tim\" stands on line 2 already",
            ),
        ] {
            let fault = fault(&format!("# head\n{line}\n"));
            assert!(fault.starts_with(words), "{line}: {fault}");
        }
        assert!(parse(b"t\xff:x").is_err());
    }
}
