//! Certificates of a trusted authority whose holder chose a name that reads like another's.
//!
//! **Implements** the table of spoofed names: a wanted `OU=X` inside another attribute, with something before or behind it,
//! in letters that only look alike; a wanted address with something before or behind it; values of the issuer in the
//! subject. Each case comes with the same certificate without the spoof: only what the spoof itself opens counts.

use std::sync::Arc;

use aws_lc_rs::error::Unspecified;

use super::der::{self, Forger, Forgery};
use super::mention::{Mention, Wanted};
use crate::cert::certificate::Certificate;
use crate::cert::decode;
use crate::cert::name::{Attribute, DistinguishedName, Rdn, oid_of, short_name};
use crate::policy::certificate_rule::AlternativeName;

/// A trusted authority, and the authorities above it.
pub(super) struct Authority {
    pub(super) certificate: Arc<Certificate>,
    /// From itself up to the anchor.
    pub(super) chain: Vec<Arc<Certificate>>,
}

/// One place for a spoof: what the certificate is without it, and with each.
pub(super) struct Case {
    pub(super) baseline: Certificate,
    pub(super) spoofed: Vec<Certificate>,
}

/// Attributes whose value a holder may choose at many an authority.
const CHOSEN: [&str; 6] = ["CN", "O", "OU", "emailAddress", "UID", "title"];
/// The most values of one condition that are tried.
const VALUES_MAX: usize = 20;

type Pair = (String, String);

/// Makes the certificates of one authority for one rule.
pub(super) struct Mint<'a> {
    pub(super) forger: &'a Forger,
    pub(super) authority: &'a Authority,
    pub(super) mention: &'a Mention,
}

impl Mint<'_> {
    /// Somebody who holds all that the rule wants of a subject.
    pub(super) fn insider(&self) -> Result<Certificate, Unspecified> {
        let mut pairs = self.wanted_pairs(None);
        pairs.push(pair("CN", "Somebody"));
        let mut certificate = self.certificate(&pairs)?;
        self.add_alternative_names(&mut certificate, None);
        Ok(certificate)
    }

    /// Every case.
    pub(super) fn cases(&self) -> Result<Vec<Case>, Unspecified> {
        let mut cases = Vec::new();
        for is_last in [true, false] {
            for (slot, wanted) in self.mention.subject.iter().enumerate() {
                cases.push(self.subject_case(slot, wanted, is_last)?);
            }
            let issuer = self.mention.issuer.iter().flat_map(|wanted| {
                let values = wanted.values.iter().take(VALUES_MAX);
                values.flat_map(|value| in_other_attributes(&wanted.oid, value, None))
            });
            let texts = self.mention.texts.iter().flat_map(|text| {
                let inside = [format!("x{text}y"), format!("x{text}"), format!("{text}y")];
                let spoofs = CHOSEN.map(|attribute| inside.each_ref().map(|value| pair(attribute, value)));
                spoofs.into_iter().flatten()
            });
            let spoofs: Vec<Pair> = issuer.chain(texts).collect();
            if !spoofs.is_empty() {
                cases.push(self.case(&self.wanted_pairs(None), spoofs, is_last)?);
            }
        }
        for slot in 0..self.mention.alternative_names.len() {
            cases.push(self.alternative_name_case(slot)?);
        }
        Ok(cases)
    }

    /// A wanted attribute left out, and what may be put instead.
    fn subject_case(&self, slot: usize, wanted: &Wanted, is_last: bool) -> Result<Case, Unspecified> {
        let others = self.wanted_pairs(Some(slot));
        let mut spoofs = Vec::new();
        for value in wanted.values.iter().take(VALUES_MAX) {
            spoofs.extend(in_other_attributes(&wanted.oid, value, Some(&wanted.oid)));
        }
        let mut case = self.case(&others, spoofs, is_last)?;
        for value in wanted.values.iter().take(VALUES_MAX).filter(|_| wanted.is_whole) {
            for near in near_values(value).filter(|near| !wanted.values.contains(near)) {
                let mut pairs = self.wanted_pairs(None);
                if let Some(replaced) = pairs.get_mut(slot) {
                    replaced.1 = near;
                }
                let pairs = with(&pairs, &[pair("CN", "Nobody")], is_last);
                case.spoofed.push(self.with_alternative_names(&pairs)?);
            }
        }
        Ok(case)
    }

    fn case(&self, pairs: &[Pair], spoofs: Vec<Pair>, is_last: bool) -> Result<Case, Unspecified> {
        let nobody = pair("CN", "Nobody");
        let baseline = self.with_alternative_names(&with(pairs, std::slice::from_ref(&nobody), is_last))?;
        let mut spoofed = Vec::new();
        for spoof in spoofs {
            let added = if spoof.0 == nobody.0 {
                vec![spoof]
            } else {
                vec![spoof, nobody.clone()]
            };
            spoofed.push(self.with_alternative_names(&with(pairs, &added, is_last))?);
        }
        Ok(Case { baseline, spoofed })
    }

    /// A wanted alternative name left out, and what may be put instead.
    fn alternative_name_case(&self, slot: usize) -> Result<Case, Unspecified> {
        let pairs = with(&self.wanted_pairs(None), &[pair("CN", "Nobody")], true);
        let mut baseline = self.certificate(&pairs)?;
        self.add_alternative_names(&mut baseline, Some(slot));
        let mut spoofed = Vec::new();
        if let Some((kind, globs)) = self.mention.alternative_names.get(slot) {
            for glob in globs.iter().take(VALUES_MAX) {
                for near in near_globs(glob) {
                    let mut certificate = baseline.clone();
                    names_of(&mut certificate, *kind).push(near);
                    spoofed.push(certificate);
                }
                for other in ALTERNATIVE_NAMES.iter().filter(|other| *other != kind) {
                    let mut certificate = baseline.clone();
                    names_of(&mut certificate, *other).push(glob.replace('*', "x"));
                    spoofed.push(certificate);
                }
                let common_name = pair("CN", &glob.replace('*', "x"));
                let mut certificate = self.certificate(&with(&self.wanted_pairs(None), &[common_name], true))?;
                self.add_alternative_names(&mut certificate, Some(slot));
                spoofed.push(certificate);
            }
        }
        Ok(Case { baseline, spoofed })
    }

    /// The first value of every wanted attribute of the subject, without one of them.
    fn wanted_pairs(&self, without: Option<usize>) -> Vec<Pair> {
        let all = self.mention.subject.iter().enumerate();
        let kept = all.filter(|(slot, _)| Some(*slot) != without);
        let value = |wanted: &Wanted| wanted.values.first().cloned().unwrap_or_default();
        kept.map(|(_, wanted)| (wanted.oid.clone(), value(wanted))).collect()
    }

    fn with_alternative_names(&self, pairs: &[Pair]) -> Result<Certificate, Unspecified> {
        let mut certificate = self.certificate(pairs)?;
        self.add_alternative_names(&mut certificate, None);
        Ok(certificate)
    }

    /// Made as DER and decoded as the daemon decodes.
    fn certificate(&self, pairs: &[Pair]) -> Result<Certificate, Unspecified> {
        let rdn = |(oid, value): &Pair| {
            let (oid, value) = (oid.clone(), value.clone());
            Rdn(vec![Attribute { oid, value }])
        };
        let subject = DistinguishedName(pairs.iter().map(rdn).collect());
        let issuer = der::name(&self.authority.certificate.subject);
        let encoded = self.forger.forge(&issuer, &subject, Forgery::Plain)?;
        let mut certificate = decode::decode(&encoded).map_err(|_| Unspecified)?;
        self.mention.equip(&mut certificate);
        Ok(certificate)
    }

    /// Gives it a name for each that the rule wants, without one of them.
    fn add_alternative_names(&self, certificate: &mut Certificate, without: Option<usize>) {
        for (slot, (kind, globs)) in self.mention.alternative_names.iter().enumerate() {
            if let Some(glob) = globs.first().filter(|_| Some(slot) != without) {
                names_of(certificate, *kind).push(glob.replace('*', "x"));
            }
        }
    }
}

const ALTERNATIVE_NAMES: [AlternativeName; 3] = [
    AlternativeName::MailAddress,
    AlternativeName::DnsName,
    AlternativeName::UserPrincipalName,
];

fn names_of(certificate: &mut Certificate, kind: AlternativeName) -> &mut Vec<String> {
    match kind {
        AlternativeName::MailAddress => &mut certificate.mail_addresses,
        AlternativeName::DnsName => &mut certificate.dns_names,
        AlternativeName::UserPrincipalName => &mut certificate.user_principal_names,
    }
}

fn pair(attribute: &str, value: &str) -> Pair {
    let oid = oid_of(attribute).unwrap_or(attribute);
    (oid.to_owned(), value.to_owned())
}

/// The pairs with some more behind or before them.
fn with(pairs: &[Pair], added: &[Pair], is_last: bool) -> Vec<Pair> {
    if is_last {
        [pairs, added].concat()
    } else {
        [added, pairs].concat()
    }
}

/// `OU=X` written into the values of other attributes, every way that some text form would show it as an attribute.
fn in_other_attributes(oid: &str, value: &str, without: Option<&str>) -> Vec<Pair> {
    let name = short_name(oid);
    let texts = [
        value.to_owned(),
        format!("{name}={value}"),
        format!("/{name}={value}"),
        format!("/{name}={value}/"),
        format!("x/{name}={value}"),
        format!("x/{name}={value}/CN=y"),
        format!("x,{name}={value}"),
        format!("x, {name}={value}, y"),
        format!("x+{name}={value}"),
        format!("x\n{name}={value}"),
        format!("x\\2F{name}\\3D{value}"),
    ];
    let attributes = CHOSEN.iter().filter_map(|attribute| oid_of(attribute));
    let attributes = attributes.filter(|chosen| Some(*chosen) != without);
    attributes
        .flat_map(|chosen| texts.iter().map(|text| (chosen.to_owned(), text.clone())))
        .collect()
}

/// Values of the same attribute that are not the one wanted.
fn near_values(value: &str) -> impl Iterator<Item = String> {
    [
        format!("{value}x"),
        format!("{value}9"),
        format!("{value} x"),
        format!("{value}/x"),
        format!("{value},x"),
        format!("{value}+CN=x"),
        format!("x{value}"),
        format!("x {value}"),
        format!("x/{value}"),
        format!("x={value}"),
        format!("{value}\u{200b}"),
        cyrillic(value),
        fullwidth(value),
    ]
    .into_iter()
}

/// Letters that look the same and are others.
fn cyrillic(text: &str) -> String {
    let alike = |c: char| match c {
        'A' => 'А',
        'B' => 'В',
        'C' => 'С',
        'E' => 'Е',
        'M' => 'М',
        'O' => 'О',
        'P' => 'Р',
        'T' => 'Т',
        'X' => 'Х',
        'a' => 'а',
        'c' => 'с',
        'e' => 'е',
        'o' => 'о',
        'p' => 'р',
        'x' => 'х',
        other => other,
    };
    text.chars().map(alike).collect()
}

/// ASCII as the fullwidth forms that compatibility normalisation would fold back.
fn fullwidth(text: &str) -> String {
    let wide = |c: char| match c {
        '!'..='~' => char::from_u32(u32::from(c) + 0xfee0).unwrap_or(c),
        other => other,
    };
    text.chars().map(wide).collect()
}

/// Addresses that the glob does not mean.
fn near_globs(glob: &str) -> Vec<String> {
    let address = glob.replace('*', "x");
    let mut near = Vec::new();
    if !glob.ends_with('*') {
        near.push(format!("{address}.outside.example"));
        near.push(format!("{address}@outside.example"));
        near.push(format!("{address}x"));
    }
    match glob.strip_prefix('*') {
        None => {
            near.push(format!("x{address}"));
            near.push(format!("x@{address}"));
        }
        // `*example.org` is also met by a domain that anybody may register.
        Some(rest) if !rest.contains(['@', '*']) && !rest.starts_with('.') => near.push(format!("x@outside-{rest}")),
        Some(_) => {}
    }
    near
}
