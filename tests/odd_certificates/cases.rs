//! The matrix: every odd certificate with the authorities it hangs on.

use std::path::Path;
use std::process::Command;

use estafette::io::tls::pem;
use rcgen::string::BmpString;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose, GeneralSubtree,
    IsCa, KeyPair, NameConstraints, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, SanType, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::authority::{Authority, attribute_type, distinguished_name, new_key, person, tls_key, write_key};
use super::pki;

/// One odd certificate, as a client shows it.
pub(crate) struct Case {
    /// Also the name of its golden file.
    pub(crate) name: &'static str,
    /// What is odd about it.
    pub(crate) about: &'static str,
    /// What is shown, leaf first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) client: Client,
}

/// Who shows it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Client {
    Rustls,
    /// rustls has no such keys: `openssl s_client` with NAME.pem and this key file.
    OpenSsl(&'static str),
}

/// The usual name with this unit and common name.
const fn in_unit<'a>(unit: &'a str, common_name: &'a str) -> [(&'a str, &'a str); 4] {
    [("C", "FR"), ("O", "CNRS"), ("OU", unit), ("CN", common_name)]
}

/// Whose names are permitted or only look as if: (case, what is odd, unit, common name).
const NAMES: [(&str, &str, &str, &str); 16] = [
    ("plain", "nothing is odd: permitted", "UMR5168", "Alice Martin"),
    (
        "other-unit",
        "a sound certificate of another unit",
        "UMR9999",
        "Bob Durand",
    ),
    (
        "name-utf8",
        "letters beyond ASCII in a UTF8String",
        "UMR5168",
        "Élodie Šimůnková",
    ),
    ("like-slash", "a slash in the CN", "UMR9999", "bob/OU=UMR5168"),
    ("like-comma", "a comma in the CN", "UMR9999", "bob,OU=UMR5168"),
    ("like-plus", "a plus sign in the CN", "UMR9999", "x+OU=UMR5168"),
    (
        "like-escape",
        "the escape of a slash in the CN",
        "UMR9999",
        "bob\\2FOU=UMR5168",
    ),
    ("like-newline", "a new line in the CN", "UMR9999", "bob\n/OU=UMR5168"),
    (
        "like-unit-in-unit",
        "the wanted RDN within the OU",
        "UMR9999/OU=UMR5168",
        "bob",
    ),
    ("like-cyrillic", "a Cyrillic letter in the OU", "U\u{41c}R5168", "bob"),
    ("like-trailing-space", "a space behind the OU", "UMR5168 ", "bob"),
    (
        "like-zero-width",
        "an invisible character behind the OU",
        "UMR5168\u{200b}",
        "bob",
    ),
    ("like-lower-case", "the OU in lower case", "umr5168", "bob"),
    ("like-longer", "a longer OU", "UMR51680", "bob"),
    ("nul-in-unit", "a NUL behind the OU", "UMR5168\0.example", "bob"),
    ("nul-in-common-name", "a NUL in the CN", "UMR9999", "bob\0/OU=UMR5168"),
];

/// What make.sh adds: (case, what is odd, key).
const OPENSSL: [(&str, &str, &str); 9] = [
    ("rsa-1024", "a key that is too small for a handshake", "rsa1024"),
    ("rsa-4096", "a large RSA key", "rsa4096"),
    ("sha-1", "signed with SHA-1", "person"),
    ("name-t61", "letters beyond ASCII in a T61String", "person"),
    ("name-two-units", "two OUs, the wanted one second: it counts", "person"),
    (
        "name-two-common-names",
        "a second CN that looks like the wanted RDN",
        "person",
    ),
    ("rdn-unit-and-uid", "the wanted OU shares its RDN with a UID", "person"),
    (
        "rdn-name-and-unit",
        "the wanted OU shares its RDN with the CN",
        "person",
    ),
    (
        "rdn-name-and-other-unit",
        "a CN that looks like the wanted OU shares its RDN with another",
        "person",
    ),
];

/// The part of the matrix that is about revocation.
pub(crate) struct Revocation {
    pub(crate) cases: Vec<Case>,
    /// What the bundle must hold besides: a list of an issuer that is not there is an error.
    pub(crate) authorities: String,
    /// The lists as PEM.
    pub(crate) lists: String,
}

/// All authorities and the key of every person without a key of its own.
pub(crate) struct World {
    pub(crate) root: Authority,
    pub(crate) sub: Authority,
    person: KeyPair,
}

impl World {
    pub(crate) fn new() -> Self {
        let root = Authority::root(&[("C", "FR"), ("O", "CNRS"), ("CN", "Root")]);
        let sub = root.subordinate(&[("C", "FR"), ("O", "CNRS"), ("CN", "Sub")], |_| ());
        Self {
            root,
            sub,
            person: new_key(),
        }
    }

    /// The usual CAfile: the root, and the intermediate that completes the chain of a client that shows its leaf alone.
    pub(crate) fn bundle(&self) -> String {
        format!("{}{}", self.root.pem, self.sub.pem)
    }

    fn case(&self, name: &'static str, about: &'static str, chain: Vec<CertificateDer<'static>>) -> Case {
        Case {
            name,
            about,
            chain,
            key: tls_key(&self.person),
            client: Client::Rustls,
        }
    }

    /// A certificate of the usual authority for the wanted unit, with one thing changed.
    fn altered(&self, name: &'static str, about: &'static str, alter: impl FnOnce(&mut CertificateParams)) -> Case {
        let mut params = person(&in_unit("UMR5168", "Alice Martin"));
        alter(&mut params);
        self.case(name, about, vec![self.sub.issue(&params, &self.person)])
    }

    fn with_key(&self, name: &'static str, about: &'static str, key: &KeyPair) -> Case {
        let leaf = self.sub.issue(&person(&in_unit("UMR5168", "Alice Martin")), key);
        Case {
            key: tls_key(key),
            ..self.case(name, about, vec![leaf])
        }
    }

    /// A sound certificate of another authority, which is shown with it.
    fn under(&self, name: &'static str, about: &'static str, issuers: &[&Authority]) -> Case {
        let leaf = issuers[0].issue(&person(&in_unit("UMR5168", "Alice Martin")), &self.person);
        let issuers = issuers.iter().map(|issuer| issuer.der.clone());
        self.case(name, about, std::iter::once(leaf).chain(issuers).collect())
    }

    /// The matrix, but for revocation; make.sh runs in `directory`.
    pub(crate) fn cases(&self, directory: &Path) -> Vec<Case> {
        let named = |(name, about, unit, common_name): (_, _, &str, &str)| {
            let params = person(&in_unit(unit, common_name));
            self.case(name, about, vec![self.sub.issue(&params, &self.person)])
        };
        let mut cases: Vec<Case> = NAMES.into_iter().map(named).collect();
        cases.extend(self.odd_contents());
        cases.extend(self.odd_issuers());
        cases.extend(self.made_by_openssl(directory));
        cases
    }

    fn odd_contents(&self) -> Vec<Case> {
        let (ed25519, p384) = (&PKCS_ED25519, &PKCS_ECDSA_P384_SHA384);
        let key_of = |algorithm| KeyPair::generate_for(algorithm).expect("a key");
        vec![
            self.altered("expired", "expired", |params| {
                params.not_before = date_time_ymd(2001, 1, 1);
                params.not_after = date_time_ymd(2002, 1, 1);
            }),
            self.altered("not-yet-valid", "not valid yet", |params| {
                params.not_before = date_time_ymd(2048, 1, 1);
            }),
            self.altered("usage-server", "for servers only", |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
            self.altered("usage-mail", "for mail only", |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
            }),
            self.altered("usage-none", "no extended key usage: accepted", |params| {
                params.extended_key_usages = Vec::new();
            }),
            self.altered("ca-as-person", "the certificate of an authority", |params| {
                params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            }),
            self.altered("hundred-names", "a hundred alternative names", |params| {
                let names = (0..100).map(|n| SanType::DnsName(format!("host{n}.example.org").try_into().expect("IA5")));
                params.subject_alt_names = names.collect();
            }),
            self.altered("name-bmp", "letters beyond ASCII in a BMPString", |params| {
                params.distinguished_name = bmp_name();
            }),
            self.altered("name-empty", "an empty name", |params| {
                params.distinguished_name = DistinguishedName::new();
            }),
            self.with_key("ed25519", "an Ed25519 key", &key_of(ed25519)),
            self.with_key("p-384", "a P-384 key", &key_of(p384)),
        ]
    }

    fn odd_issuers(&self) -> Vec<Case> {
        let cnrs = |common_name| [("C", "FR"), ("O", "CNRS"), ("CN", common_name)];
        let own = person(&in_unit("UMR5168", "Alice Martin"))
            .self_signed(&self.person)
            .expect("a certificate");
        let stranger = Authority::root(&cnrs("Stranger"));
        let namesake = Authority::root(&cnrs("Root"));
        let pretender = self.root.pretender(&cnrs("Pretender"));
        let shallow = self.root.subordinate(&cnrs("Shallow"), |params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        });
        let deep = shallow.subordinate(&cnrs("Deep"), |_| ());
        let old = self.root.subordinate(&cnrs("Old"), |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = date_time_ymd(2002, 1, 1);
        });
        let unit = self.root.subordinate(&in_unit("UMR5168", "Unit Authority"), |_| ());
        let unlisted = self.root.subordinate(&cnrs("Unlisted"), |_| ());
        let only_leaf = |case: Case| Case {
            chain: case.chain[..1].to_vec(),
            ..case
        };
        let mut cases = vec![
            self.case("self-signed", "signed by itself", vec![own.der().clone()]),
            self.under("other-authority", "of an authority that is not trusted", &[&stranger]),
            self.under(
                "namesake-authority",
                "of an authority that calls itself like ours",
                &[&namesake],
            ),
            self.under("issuer-is-no-authority", "its issuer says CA:FALSE", &[&pretender]),
            self.under("path-too-long", "one authority too many above it", &[&deep, &shallow]),
            self.under("issuer-expired", "its issuer has expired", &[&old]),
            self.under(
                "issuer-shown",
                "its intermediate is not in the bundle, but shown",
                &[&unlisted],
            ),
            only_leaf(self.under(
                "issuer-missing",
                "its intermediate is neither in the bundle nor shown",
                &[&unlisted],
            )),
        ];
        let bob = person(&in_unit("UMR9999", "bob"));
        let chain = vec![unit.issue(&bob, &self.person), unit.der.clone()];
        cases.push(self.case("unit-of-the-issuer", "the wanted OU stands in the issuer", chain));
        cases.extend(self.constrained());
        cases
    }

    fn constrained(&self) -> [Case; 4] {
        let authority = |subtree| {
            self.root
                .subordinate(&[("C", "FR"), ("O", "CNRS"), ("CN", "Constrained")], |params| {
                    params.name_constraints = Some(NameConstraints {
                        permitted_subtrees: vec![subtree],
                        excluded_subtrees: Vec::new(),
                    });
                })
        };
        let dns = authority(GeneralSubtree::DnsName("example.org".into()));
        let named = |organisation| {
            let base = distinguished_name(&[("C", "FR"), ("O", organisation)]);
            authority(GeneralSubtree::DirectoryName(base))
        };
        let host = |host: &str| {
            let mut params = person(&in_unit("UMR5168", "Alice Martin"));
            params.subject_alt_names = vec![SanType::DnsName(host.try_into().expect("IA5"))];
            vec![dns.issue(&params, &self.person), dns.der.clone()]
        };
        [
            self.case(
                "constraint-kept",
                "its host name is within the constraint",
                host("a.example.org"),
            ),
            self.case(
                "constraint-violated",
                "its host name is outside the constraint",
                host("a.example.net"),
            ),
            self.under(
                "constraint-on-names",
                "its issuer is for names of its own organisation: refused, webpki knows no such constraint",
                &[&named("CNRS")],
            ),
            self.under(
                "constraint-on-other-names",
                "its issuer is for names of another organisation",
                &[&named("INRIA")],
            ),
        ]
    }

    fn made_by_openssl(&self, directory: &Path) -> Vec<Case> {
        self.sub.write(directory, "sub");
        write_key(directory, "person", &self.person);
        pki::run(
            Command::new("sh")
                .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/odd_certificates/make.sh"))
                .arg(directory),
        );
        let read = |(name, about, key): (&'static str, _, &'static str)| Case {
            name,
            about,
            chain: pem::certificates(&directory.join(format!("{name}.pem"))).expect("a certificate"),
            key: pem::private_key(&directory.join(format!("{key}.key"))).expect("a key"),
            client: if name == "rsa-1024" {
                Client::OpenSsl(key)
            } else {
                Client::Rustls
            },
        };
        OPENSSL.into_iter().map(read).collect()
    }

    /// Certificates that have been taken back, and the revocation lists that say so.
    pub(crate) fn revocation(&self) -> Revocation {
        let person_params = || person(&in_unit("UMR5168", "Alice Martin"));
        let revoked = person_params();
        let bad_sub = self
            .root
            .subordinate(&[("C", "FR"), ("O", "CNRS"), ("CN", "Revoked Sub")], |_| ());
        let silent_sub = self
            .root
            .subordinate(&[("C", "FR"), ("O", "CNRS"), ("CN", "Silent Sub")], |_| ());
        let stale_sub = self
            .root
            .subordinate(&[("C", "FR"), ("O", "CNRS"), ("CN", "Stale Sub")], |_| ());
        let serial = revoked.serial_number.clone().expect("given");
        let lists = [
            self.root.revocation_list(2049, &[&bad_sub.serial]),
            self.sub.revocation_list(2049, &[&serial]),
            bad_sub.revocation_list(2049, &[]),
            stale_sub.revocation_list(2022, &[]),
        ];
        let kept = self.case(
            "crl-kept",
            "not on the lists",
            vec![self.sub.issue(&person_params(), &self.person)],
        );
        let taken = self.case("crl-revoked", "revoked", vec![self.sub.issue(&revoked, &self.person)]);
        let cases = vec![
            kept,
            taken,
            self.under("crl-issuer-revoked", "its intermediate is revoked", &[&bad_sub]),
            self.under("crl-missing", "its issuer has no list", &[&silent_sub]),
            self.under("crl-stale", "the list of its issuer is out of date", &[&stale_sub]),
        ];
        Revocation {
            cases,
            authorities: [bad_sub.pem, silent_sub.pem, stale_sub.pem].concat(),
            lists: lists.concat(),
        }
    }
}

fn bmp_name() -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (attribute, value) in in_unit("UMR5168", "Ålice Ωmega") {
        let value = BmpString::try_from(value).expect("within the basic plane");
        let value = if attribute == "C" {
            DnValue::Utf8String("FR".into())
        } else {
            DnValue::BmpString(value)
        };
        name.push(attribute_type(attribute), value);
    }
    debug_assert!(name.get(&DnType::CommonName).is_some());
    name
}
