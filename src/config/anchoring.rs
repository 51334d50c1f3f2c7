//! Whether a regular expression on a name can match inside a longer value.
//!
//! **Implements** a walk over the parsed expression that asks what may stand beside each character of a value. In the
//! one-line text `/` and `+` stand between attributes only, so a match that begins with one, ends with one, or begins
//! and ends with the text itself covers whole values.
//! **Does not** forbid a part of a value that is said in so many words: `OU=UMR[0-9]+(/|$)`, `CN=Dr [^/+]*(/|$)`.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

/// Where an expression lets a longer value through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Something may stand before the match in the same value.
    Beginning,
    /// Something may stand behind it in the same value.
    End,
    /// A wildcard that runs across attributes stands beside a part of a value.
    Within,
    /// No gap, but nothing either: the beginning of a name is wanted before something else than `/`.
    Never,
}

/// What can stand first or last in a part of an expression, as bits.
type Kinds = u8;

/// `/` or `+`.
const SEPARATOR: Kinds = 1;
/// `=`.
const EQUALS: Kinds = 2;
/// A character of a value or of an attribute type.
const VALUE: Kinds = 4;
/// Any number of characters, separators among them.
const WILD: Kinds = 8;
/// The beginning of the text.
const START: Kinds = 16;
/// The end of the text.
const END: Kinds = 32;

/// What was found between two parts of an expression.
#[derive(Default)]
struct Faults {
    has_gap: bool,
    is_never: bool,
}

impl Faults {
    /// Behind `=` a wildcard stands for the whole value, which is no part of one.
    fn look_between(&mut self, before: Kinds, behind: Kinds) {
        let is_open_end = before & VALUE != 0 && behind & WILD != 0;
        let is_open_beginning = before & WILD != 0 && behind & (VALUE | EQUALS) != 0;
        self.has_gap |= is_open_end || is_open_beginning;
        self.is_never |= before & START != 0 && behind & (VALUE | EQUALS) != 0;
    }
}

/// What a part of an expression begins and ends with, and whether it can be empty.
#[derive(Clone, Copy)]
struct Part {
    first: Kinds,
    last: Kinds,
    is_optional: bool,
}

impl Part {
    const EMPTY: Self = Self {
        first: 0,
        last: 0,
        is_optional: true,
    };

    const fn one(kind: Kinds) -> Self {
        Self {
            first: kind,
            last: kind,
            is_optional: false,
        }
    }
}

/// The gap of an expression that is searched for in a name; `None` when it covers whole values only.
pub fn gap(pattern: &str) -> Option<Gap> {
    let parsed = regex_syntax::parse(pattern).ok()?;
    let mut faults = Faults::default();
    let whole = walk(&parsed, false, &mut faults);
    if whole.first & (VALUE | EQUALS) != 0 {
        return Some(Gap::Beginning);
    }
    if whole.last & VALUE != 0 {
        return Some(Gap::End);
    }
    if faults.has_gap {
        return Some(Gap::Within);
    }
    faults.is_never.then_some(Gap::Never)
}

/// Whether an expression names anything at all, as `.*` and `^/` do not.
pub fn names_something(pattern: &str) -> bool {
    fn has_letters(part: &Hir) -> bool {
        match part.kind() {
            HirKind::Literal(literal) => literal.0.iter().any(u8::is_ascii_alphanumeric),
            HirKind::Repetition(repetition) => has_letters(&repetition.sub),
            HirKind::Capture(capture) => has_letters(&capture.sub),
            HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(has_letters),
            HirKind::Empty | HirKind::Class(_) | HirKind::Look(_) => false,
        }
    }
    regex_syntax::parse(pattern).is_ok_and(|parsed| has_letters(&parsed))
}

fn walk(part: &Hir, is_repeated: bool, faults: &mut Faults) -> Part {
    match part.kind() {
        HirKind::Empty => Part::EMPTY,
        HirKind::Literal(literal) => Part {
            first: literal.0.first().map_or(0, |octet| kind(*octet)),
            last: literal.0.last().map_or(0, |octet| kind(*octet)),
            is_optional: false,
        },
        HirKind::Class(class) => Part::one(class_kind(class, is_repeated)),
        HirKind::Look(look) => match look {
            // A name holds no line ends, so that a line is the text.
            Look::Start | Look::StartLF | Look::StartCRLF => Part::one(START),
            Look::End | Look::EndLF | Look::EndCRLF => Part::one(END),
            _ => Part::EMPTY,
        },
        HirKind::Repetition(repetition) => {
            let is_many = repetition.max != Some(1);
            let mut inner = walk(&repetition.sub, is_repeated || is_many, faults);
            if is_many {
                faults.look_between(inner.last, inner.first);
            }
            inner.is_optional |= repetition.min == 0;
            inner
        }
        HirKind::Capture(capture) => walk(&capture.sub, is_repeated, faults),
        HirKind::Concat(parts) => {
            let mut whole = Part::EMPTY;
            for part in parts {
                let next = walk(part, is_repeated, faults);
                faults.look_between(whole.last, next.first);
                whole = Part {
                    first: whole.first | if whole.is_optional { next.first } else { 0 },
                    last: next.last | if next.is_optional { whole.last } else { 0 },
                    is_optional: whole.is_optional && next.is_optional,
                };
            }
            whole
        }
        HirKind::Alternation(branches) => {
            let none = Part {
                is_optional: false,
                ..Part::EMPTY
            };
            branches.iter().fold(none, |all, branch| {
                let next = walk(branch, is_repeated, faults);
                Part {
                    first: all.first | next.first,
                    last: all.last | next.last,
                    is_optional: all.is_optional || next.is_optional,
                }
            })
        }
    }
}

const fn kind(octet: u8) -> Kinds {
    match octet {
        b'/' | b'+' => SEPARATOR,
        b'=' => EQUALS,
        _ => VALUE,
    }
}

/// One character that may be a separator is a careless dot, as in `www.example.org`; several are a wildcard.
fn class_kind(class: &Class, is_repeated: bool) -> Kinds {
    let has = |wanted: char| contains(class, wanted);
    let length: usize = match class {
        Class::Unicode(class) => class.iter().map(regex_syntax::hir::ClassUnicodeRange::len).sum(),
        Class::Bytes(class) => class.iter().map(regex_syntax::hir::ClassBytesRange::len).sum(),
    };
    let separators = usize::from(has('/')) + usize::from(has('+'));
    match separators {
        0 => VALUE,
        _ if separators == length => SEPARATOR,
        _ if is_repeated => WILD,
        _ => VALUE,
    }
}

fn contains(class: &Class, wanted: char) -> bool {
    match class {
        Class::Unicode(class) => class
            .iter()
            .any(|range| (range.start()..=range.end()).contains(&wanted)),
        Class::Bytes(class) => u8::try_from(wanted).is_ok_and(|wanted| {
            class
                .iter()
                .any(|range| (range.start()..=range.end()).contains(&wanted))
        }),
    }
}

/// A short text that the expression means: first alternatives, nothing where nothing is enough.
pub fn sample(pattern: &str) -> String {
    let mut out = String::new();
    if let Ok(parsed) = regex_syntax::parse(pattern) {
        push_sample(&parsed, &mut out);
    }
    out
}

/// Longest sample; a counted repetition may ask for a thousand characters.
const SAMPLE_OCTETS_MAX: usize = 200;

fn push_sample(part: &Hir, out: &mut String) {
    match part.kind() {
        _ if out.len() > SAMPLE_OCTETS_MAX => {}
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.push_str(&String::from_utf8_lossy(&literal.0)),
        HirKind::Class(class) => out.push(
            ['x', 'X', '1']
                .into_iter()
                .find(|c| contains(class, *c))
                .unwrap_or(match class {
                    Class::Unicode(class) => class
                        .iter()
                        .next()
                        .map_or('x', regex_syntax::hir::ClassUnicodeRange::start),
                    Class::Bytes(class) => class.iter().next().map_or('x', |range| char::from(range.start())),
                }),
        ),
        HirKind::Repetition(repetition) => {
            for _ in 0..repetition.min {
                if out.len() > SAMPLE_OCTETS_MAX {
                    break;
                }
                push_sample(&repetition.sub, out);
            }
        }
        HirKind::Capture(capture) => push_sample(&capture.sub, out),
        HirKind::Concat(parts) => parts.iter().for_each(|part| push_sample(part, out)),
        HirKind::Alternation(branches) => {
            if let Some(branch) = branches.first() {
                push_sample(branch, out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expression_on_whole_values_has_no_gap() {
        for pattern in [
            "^/C=FR/O=CNRS/CN=CNRS-Plus$",
            "/C=FR/O=CNRS/CN=CNRS-Plus$",
            "/OU=UMR5168(/|$)",
            "/OU=UMR5168($|/)",
            "[/+]OU=UMR5168([/+]|$)",
            "/OU=UMR5168/",
            r"/OU=UMR5168\z",
            "^(/C=FR/O=A|/C=FR/O=B)$",
            "(^/C=FR/O=A|/C=FR/O=B)(/OU=x)?$",
            "^/C=FR/O=CNRS(/.*)?$",
            "^/C=FR/.*/OU=UMR5168$",
            "^.*/OU=UMR5168/.*$",
            "/CN=",
            "/CN=.*/OU=UMR5168(/|$)",
            "/OU=UMR[0-9]{4}(/|$)",
            "/CN=Dr [^/+]*(/|$)",
            "/O=www.example.org$",
            "(?i)^/c=fr/o=cnrs$",
            "(?i)/OU=umr5168(/|$)",
            r"/O=AT&T \\2F\\2B(/|$)",
            "/OU=(UMR5168|UMR7638)(/|$)",
            "/O=CNRS(/OU=[^/+]*)+$",
            "(?m)^/O=CNRS$",
            ".*$",
        ] {
            assert_eq!(gap(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn expression_that_can_begin_or_end_inside_a_value_has_a_gap() {
        for (pattern, expected) in [
            ("UMR5168", Gap::Beginning),
            ("UMR5168(/|$)", Gap::Beginning),
            ("OU=UMR5168(/|$)", Gap::Beginning),
            ("=UMR5168(/|$)", Gap::Beginning),
            ("^?/?UMR5168$", Gap::Beginning),
            ("(^|)UMR5168$", Gap::Beginning),
            (r"\bUMR5168(/|$)", Gap::Beginning),
            ("(/OU=A|UMR5168)$", Gap::Beginning),
            (".*UMR5168$", Gap::Beginning),
            (".UMR5168$", Gap::Beginning),
            ("^/C=FR/O=CNRS", Gap::End),
            ("^/C=FR/O=CNRS.", Gap::End),
            ("/OU=UMR5168", Gap::End),
            (r"/OU=UMR5168\b", Gap::End),
            (r"/OU=UMR5168\$", Gap::End),
            ("/OU=UMR5168(/|$)?", Gap::End),
            ("/CN=A|/CN=B$", Gap::End),
            ("^(/CN=A$|/CN=B)", Gap::End),
            ("(?i)/OU=UMR5168", Gap::End),
            ("/OU=UMR5168[^/+]*", Gap::End),
            ("^/C=FR/O=CNRS.*", Gap::End),
            ("^/C=FR/O=CNRS.*$", Gap::Within),
            ("^/C=FR/O=CNRS.{0,9}$", Gap::Within),
            ("^/C=FR/O=CNRS.*/CN=x$", Gap::Within),
            ("^.*UMR5168$", Gap::Within),
            ("^.*OU=UMR5168$", Gap::Within),
            ("^/C=FR/.*UMR5168$", Gap::Within),
            (r"^/C=FR/\S+UMR5168$", Gap::Within),
            ("^/O=CNRS[^,]*$", Gap::Within),
            ("^/OU=[^/]*UMR5168$", Gap::Within),
            ("^(?:/OU=.x)*$", Gap::Within),
            ("^(/OU=|.*)UMR5168$", Gap::Within),
            ("^C=FR/O=CNRS$", Gap::Never),
            ("^CN=Alice,OU=UMR5168$", Gap::Never),
            ("^(/C=FR|C=DE)/O=CNRS$", Gap::Never),
        ] {
            assert_eq!(gap(pattern), Some(expected), "{pattern}");
        }
    }

    #[test]
    fn expression_that_names_something_is_told_from_a_wildcard() {
        for (pattern, expected) in [(".*", false), ("^/", false), ("(/CN=a)?", true), ("^(/C=FR|)", true)] {
            assert_eq!(names_something(pattern), expected, "{pattern}");
        }
    }

    #[test]
    fn sample_is_what_the_expression_means() {
        assert_eq!(
            sample("^/C=FR/(O=CNRS|O=x)/OU=UMR[0-9]{2}(/|$)"),
            "/C=FR/O=CNRS/OU=UMR11/"
        );
    }
}
