//! Lists of addresses as header fields write them.
//!
//! **Implements** RFC 5322 section 3.4 and the groups of RFC 6854, as strictly as it takes for every reader to find the same
//! addresses.
//! **Does not** look into display names, comments or the encoded words (RFC 2047) in them: a name may look like an address.
//! Nor take what RFC 5322 calls obsolete: routes, blanks and comments inside an address, empty members of a list.

use std::iter::Peekable;
use std::vec::IntoIter;

use crate::wire::path::Mailbox;

/// Comments within comments that are followed.
const COMMENT_DEPTH_MAX: usize = 16;

/// The addresses of a list, unfolded and without control characters; `None` when it can be read in more than one way, or
/// in none.
pub fn parse(text: &str) -> Option<Vec<Mailbox>> {
    let mut list = List {
        tokens: tokens(text)?.into_iter().peekable(),
        found: Vec::new(),
    };
    list.read()?;
    Some(list.found)
}

/// What a field's text consists of, comments and blanks left out.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Octets without a blank or comment in between, quotes and all; and whether they may stand in a display name: no
    /// `@` or bracket outside quotes.
    Run(String, bool),
    /// What stands between `<` and `>`.
    Angle(String),
    Comma,
    Colon,
    Semicolon,
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            ' ' | '\t' => (None, 1),
            '(' => (None, comment_length(rest)?),
            ',' => (Some(Token::Comma), 1),
            ':' => (Some(Token::Colon), 1),
            ';' => (Some(Token::Semicolon), 1),
            '<' => {
                let end = end_of_angle(rest)?;
                let inside = rest.get(1..end).unwrap_or_default();
                (Some(Token::Angle(inside.to_owned())), end + 1)
            }
            _ => {
                let (length, is_word) = run_length(rest)?;
                let run = rest.get(..length).unwrap_or_default();
                (Some(Token::Run(run.to_owned(), is_word)), length)
            }
        };
        tokens.extend(token);
        rest = rest.get(length..).unwrap_or_default();
    }
    Some(tokens)
}

/// Octets of the comment that a text begins with.
fn comment_length(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '\\' => drop(characters.next()),
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
        if depth > COMMENT_DEPTH_MAX {
            break;
        }
    }
    None
}

/// The place of the `>` that ends what a `<` begins; one in quotes does not.
fn end_of_angle(text: &str) -> Option<usize> {
    let mut at = 1;
    while let Some(octet) = text.as_bytes().get(at) {
        match octet {
            b'>' => return Some(at),
            b'"' => at += quoted_length(text.get(at..).unwrap_or_default())?,
            _ => at += 1,
        }
    }
    None
}

/// Octets of the quoted string that a text begins with.
fn quoted_length(text: &str) -> Option<usize> {
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some(at + 1),
            '\\' => drop(characters.next()),
            _ => {}
        }
    }
    None
}

/// Octets up to a blank, a comment or what separates; and whether they may stand in a display name.
fn run_length(text: &str) -> Option<(usize, bool)> {
    let (mut at, mut is_word) = (0, true);
    while let Some(octet) = text.as_bytes().get(at) {
        match octet {
            b' ' | b'\t' | b'(' | b',' | b':' | b';' | b'<' => break,
            b'"' => at += quoted_length(text.get(at..).unwrap_or_default())?,
            b'[' => {
                // An address literal may hold colons.
                let inside = text.get(at..).unwrap_or_default();
                at += inside.find(']')? + 1;
                is_word = false;
            }
            b'>' | b')' | b']' | b'\\' => return None,
            other => {
                is_word = is_word && *other != b'@';
                at += 1;
            }
        }
    }
    Some((at, is_word))
}

/// A list of addresses as it is read.
struct List {
    tokens: Peekable<IntoIter<Token>>,
    found: Vec<Mailbox>,
}

impl List {
    /// Mailboxes and groups with commas between.
    fn read(&mut self) -> Option<()> {
        while self.tokens.peek().is_some() {
            let words = self.words();
            if self.tokens.next_if_eq(&Token::Colon).is_none() {
                self.mailbox(words)?;
            } else if !words.is_empty() && is_phrase(&words) {
                self.group()?;
            } else {
                return None;
            }
            match self.tokens.next() {
                None => break,
                Some(Token::Comma) if self.tokens.peek().is_some() => {}
                Some(_) => return None,
            }
        }
        Some(())
    }

    /// What stands between the `:` and the `;` of a group; no group is in a group.
    fn group(&mut self) -> Option<()> {
        if self.tokens.next_if_eq(&Token::Semicolon).is_some() {
            return Some(());
        }
        loop {
            let words = self.words();
            self.mailbox(words)?;
            match self.tokens.next() {
                Some(Token::Comma) => {}
                Some(Token::Semicolon) => return Some(()),
                _ => return None,
            }
        }
    }

    fn words(&mut self) -> Vec<(String, bool)> {
        let mut words = Vec::new();
        while let Some(Token::Run(text, is_word)) = self.tokens.next_if(|token| matches!(token, Token::Run(..))) {
            words.push((text, is_word));
        }
        words
    }

    /// A mailbox of which these words were read: a display name before an address in brackets, or the address.
    fn mailbox(&mut self, words: Vec<(String, bool)>) -> Option<()> {
        let address = match self.tokens.next_if(|token| matches!(token, Token::Angle(_))) {
            Some(Token::Angle(address)) if is_phrase(&words) => address,
            Some(_) => return None,
            None => match <[(String, bool); 1]>::try_from(words) {
                Ok([(address, _)]) => address,
                Err(_) => return None,
            },
        };
        let mailbox = Mailbox::parse(&address).ok()?;
        if !is_plain(&mailbox.local_part) {
            return None;
        }
        self.found.push(mailbox);
        Some(())
    }
}

fn is_phrase(words: &[(String, bool)]) -> bool {
    words.iter().all(|(_, is_word)| *is_word)
}

/// Whether every reader takes the local-part for one: no separator is in its quotes, and nothing that looks like an encoded
/// word, which some decode even there. Of UTF-8 that holds for letters and digits: the rest has look-alikes of separators.
fn is_plain(local_part: &str) -> bool {
    let is_separator = |c: char| r#"<>()[]:;,@"\"#.contains(c) || !(c.is_ascii() || c.is_alphanumeric());
    let has_separator = local_part.contains(is_separator);
    !has_separator && !local_part.contains("=?")
}
