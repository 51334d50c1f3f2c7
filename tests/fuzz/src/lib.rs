//! What each fuzz target feeds, and what must hold whatever it is fed.
//!
//! **Does not** need a fuzzer: every target is a plain function of octets, so that a find is replayed by a test.

use std::net::IpAddr;
use std::path::Path;

use estafette::cert::decode;
use estafette::config::{Environment, load_text};
use estafette::wire::command::{Command, split_path_argument};
use estafette::wire::data::{DataDecoder, DotStuffer};
use estafette::wire::line::{COMMAND_LINE_OCTETS_MAX, Input, Line};
use estafette::wire::parameters::{MailParameters, RecipientParameters};
use estafette::wire::path::{ForwardPath, ReversePath};

mod codecs;
mod dialogue;
mod ledger;
mod milter;
mod packets;
pub mod seeds;
mod session;

pub use codecs::{chunks, dovecot_auth, policy_delegation, proxy_header};
pub use milter::{milter, milter_changes};
pub use session::session;

/// A target: its name and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// Every target, by name.
pub const TARGETS: &[Target] = &[
    ("command_parser", command_parser),
    ("line_splitter", line_splitter),
    ("mail_data", mail_data),
    ("certificate_names", certificate_names),
    ("configuration", configuration),
    ("session", session),
    ("chunks", chunks),
    ("proxy_header", proxy_header),
    ("milter", milter),
    ("milter_changes", milter_changes),
    ("policy_delegation", policy_delegation),
    ("dovecot_auth", dovecot_auth),
];

/// The command parser: a verb, then paths and parameters. What a path prints is read as the same path.
pub fn command_parser(input: &[u8]) {
    let Ok(command) = Command::parse(input) else {
        return;
    };
    for keyword in ["FROM:", "TO:"] {
        let Ok((path, parameters)) = split_path_argument(&command.argument, keyword) else {
            continue;
        };
        let _ = MailParameters::parse(parameters);
        let _ = RecipientParameters::parse(parameters);
        if let Ok(path) = ReversePath::parse(path) {
            let again = ReversePath::parse(&format!("<{path}>"));
            assert_eq!(again.as_ref(), Ok(&path), "{path:?} prints as something else");
        }
        if let Ok(path) = ForwardPath::parse(path) {
            let again = ForwardPath::parse(&format!("<{path}>"));
            assert_eq!(again.as_ref(), Ok(&path), "{path:?} prints as something else");
        }
    }
}

/// The line splitter: however octets are cut, the lines are the same.
pub fn line_splitter(input: &[u8]) {
    let Some((piece, octets)) = input.split_first() else {
        return;
    };
    let lines = |piece: usize| {
        let mut input = Input::default();
        let mut lines = Vec::new();
        for piece in octets.chunks(piece) {
            input.push(piece);
            while let Some(line) = input.next_line(COMMAND_LINE_OCTETS_MAX) {
                if let Line::Complete { text, .. } = &line {
                    assert!(text.len() <= COMMAND_LINE_OCTETS_MAX && !text.contains(&b'\n'));
                }
                lines.push(line);
            }
        }
        lines
    };
    assert_eq!(lines(usize::from(*piece).max(1)), lines(octets.len().max(1)));
}

/// Dot transparency: however octets are cut, the content is the same, has no bare line end, and survives being sent on.
pub fn mail_data(input: &[u8]) {
    let Some((piece, octets)) = input.split_first() else {
        return;
    };
    let decoded = |piece: usize| {
        let mut decoder = DataDecoder::new();
        let (mut content, mut read) = (Vec::new(), 0);
        'pieces: for piece in octets.chunks(piece) {
            let mut rest = piece;
            while !rest.is_empty() {
                if decoder.has_ended() {
                    break 'pieces;
                }
                let count = decoder.decode(rest, &mut content);
                assert!(count > 0, "the decoder stands still");
                read += count;
                rest = &rest[count..];
            }
        }
        (decoder.has_ended(), content, read)
    };
    let whole = decoded(octets.len().max(1));
    assert_eq!(whole, decoded(usize::from(*piece).max(1)));
    let (has_ended, content, _) = whole;
    if !has_ended {
        return;
    }
    for (at, octet) in content.iter().enumerate() {
        match octet {
            b'\n' => assert_eq!(
                at.checked_sub(1).map(|before| content[before]),
                Some(b'\r'),
                "a bare LF"
            ),
            b'\r' => assert_eq!(content.get(at + 1), Some(&b'\n'), "a bare CR"),
            _ => {}
        }
    }
    let mut wire = Vec::new();
    let mut stuffer = DotStuffer::default();
    stuffer.push(&content, &mut wire);
    stuffer.finish(&mut wire);
    let mut decoder = DataDecoder::new();
    let mut again = Vec::new();
    let mut rest = &wire[..];
    while !rest.is_empty() && !decoder.has_ended() {
        let count = decoder.decode(rest, &mut again);
        rest = &rest[count..];
    }
    assert!(
        decoder.has_ended() && rest.is_empty(),
        "what is sent on ends where it ends"
    );
    assert_eq!(again, content, "what is sent on is what was received");
}

/// Certificates: names decode to text whose one-line form cannot be mistaken.
pub fn certificate_names(input: &[u8]) {
    let _ = decode::raw_parts(input);
    let _ = decode::is_self_signed(input);
    let _ = decode::name_constraints(input);
    let _ = decode::path_length_constraint(input);
    let _ = decode::signature_algorithm(input);
    let Ok(certificate) = decode::decode(input) else {
        return;
    };
    for name in [&certificate.subject, &certificate.issuer] {
        let line = name.one_line();
        let attributes: usize = name.0.iter().map(|rdn| rdn.0.len()).sum();
        let separators = line.matches(['/', '+']).count();
        assert_eq!(separators, attributes, "a value passes for an attribute in {line:?}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
        let _ = name.rfc4514();
    }
}

/// A configuration file: settings or errors, never a panic.
pub fn configuration(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    match load_text(Path::new("/etc/estafette/estafette.toml"), text, &nowhere()) {
        Ok(loaded) => assert!(!loaded.settings.listeners.is_empty(), "settings without a listener"),
        Err(errors) => assert!(!errors.to_string().is_empty(), "an error without words"),
    }
}

/// A system on which nothing is looked up.
pub(crate) fn nowhere() -> Environment {
    Environment {
        hostname: "relay.example".into(),
        interfaces: vec!["127.0.0.1/8".parse().expect("a network")],
        ipv6: true,
        check_files: false,
        public_ca_bundles: Vec::new(),
    }
}

/// The peer of every session here.
pub(crate) const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 10));
