//! Authorities, certificates and revocation lists for the tests, made with rcgen; the odd lists with the openssl program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use estafette::io::tls::settings::{RevocationSettings, ServerTlsFiles};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CrlIssuingDistributionPoint, CrlScope, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevocationReason, RevokedCertParams, SerialNumber, SigningKey as _,
};
use rustls::pki_types::CertificateDer;

/// Seconds since the epoch.
pub(crate) fn now() -> i64 {
    let elapsed = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock past 1970");
    i64::try_from(elapsed.as_secs()).expect("a clock before the year 292 billion")
}

pub(crate) const DAY: i64 = 86_400;

/// An authority with its key.
pub(crate) struct Authority {
    pub(crate) name: String,
    params: CertificateParams,
    key: KeyPair,
    pub(crate) pem: String,
    pub(crate) der: CertificateDer<'static>,
}

/// A revocation list to be made.
pub(crate) struct List<'a> {
    pub(crate) number: u64,
    pub(crate) revoked: &'a [u64],
    /// Seconds from now.
    pub(crate) this_update: i64,
    pub(crate) next_update: i64,
    pub(crate) scope: Option<CrlScope>,
    pub(crate) point: Option<&'a str>,
}

impl Default for List<'_> {
    fn default() -> Self {
        Self {
            number: 1,
            revoked: &[],
            this_update: -DAY,
            next_update: 7 * DAY,
            scope: None,
            point: None,
        }
    }
}

/// Any of the two key usages of an authority.
pub(crate) const CA_USAGES: [KeyUsagePurpose; 2] = [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];

fn authority_params(name: &str, serial: u64, usages: &[KeyUsagePurpose]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "CNRS");
    params.distinguished_name.push(DnType::CommonName, name);
    params.serial_number = Some(SerialNumber::from(serial));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = usages.to_vec();
    params
}

/// A moment so many seconds from now, as rcgen wants it; its type has no name here.
macro_rules! moment {
    ($from_now:expr) => {
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(now() + $from_now).expect("after 1970"))
    };
}

impl Authority {
    pub(crate) fn root(name: &str) -> Self {
        Self::root_with(name, &CA_USAGES)
    }

    pub(crate) fn root_with(name: &str, usages: &[KeyUsagePurpose]) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = authority_params(name, 1, usages);
        let certificate = params.self_signed(&key).expect("a root");
        Self::made(name, params, key, &certificate)
    }

    pub(crate) fn below(issuer: &Self, name: &str, serial: u64) -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = authority_params(name, serial, &CA_USAGES);
        let certificate = params.signed_by(&key, &issuer.issuer()).expect("an intermediate");
        Self::made(name, params, key, &certificate)
    }

    /// Another certificate, in PEM, of the name and key of an authority.
    pub(crate) fn certificate_of(&self, other: &Self, serial: u64) -> String {
        let params = authority_params(&other.name, serial, &CA_USAGES);
        let certificate = params.signed_by(&other.key, &self.issuer()).expect("a certificate");
        certificate.pem()
    }

    /// A self-signed certificate, in PEM, of its name and key that ends so many seconds from now.
    pub(crate) fn root_until(&self, serial: u64, not_after: i64) -> String {
        let mut params = authority_params(&self.name, serial, &CA_USAGES);
        params.not_after = moment!(not_after);
        params.self_signed(&self.key).expect("a root").pem()
    }

    fn made(name: &str, params: CertificateParams, key: KeyPair, certificate: &rcgen::Certificate) -> Self {
        Self {
            name: name.to_owned(),
            params,
            key,
            pem: certificate.pem(),
            der: certificate.der().clone(),
        }
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// A holder's certificate: DER, PEM, and the key in PEM.
    pub(crate) fn holder(&self, name: &str, serial: u64) -> Holder {
        self.holder_with(name, serial, |_| {})
    }

    pub(crate) fn holder_with(&self, name: &str, serial: u64, change: impl FnOnce(&mut CertificateParams)) -> Holder {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.not_after = moment!(365 * DAY);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer()).expect("a certificate");
        Holder {
            der: certificate.der().clone(),
            pem: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    pub(crate) fn list(&self, list: &List<'_>) -> rcgen::CertificateRevocationList {
        let revoked = list.revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: moment!(-DAY),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: moment!(list.this_update),
            next_update: moment!(list.next_update),
            crl_number: SerialNumber::from(list.number),
            issuing_distribution_point: list.point.map(|uri| CrlIssuingDistributionPoint {
                distribution_point: CrlDistributionPoint {
                    uris: vec![uri.to_owned()],
                },
                scope: list.scope,
            }),
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer()).expect("a list")
    }

    /// A list in DER without a nextUpdate.
    pub(crate) fn list_without_end(&self, list: &List<'_>) -> Vec<u8> {
        let made = self.list(list);
        let [message, algorithm, _] = parts(contents(made.der()))[..] else {
            panic!("three parts")
        };
        let mut fields = parts(contents(message));
        // version, signature, issuer, thisUpdate, nextUpdate
        fields.remove(4);
        let message = element(0x30, &fields.concat());
        let signature = self.key.sign(&message).expect("signed");
        let signature = element(3, &[&[0], signature.as_slice()].concat());
        element(0x30, &[&message, algorithm, &signature].concat())
    }

    /// A list in PEM made by `openssl ca -gencrl` with this section of extensions.
    pub(crate) fn openssl_list(&self, directory: &Path, digest: &str, extensions: &str) -> String {
        let work = tempfile::tempdir_in(directory).expect("a directory");
        let file = |name: &str| work.path().join(name);
        fs::write(file("ca.key"), self.key_pem()).expect("key");
        fs::write(file("ca.pem"), &self.pem).expect("certificate");
        fs::write(file("index.txt"), "").expect("index");
        fs::write(file("number"), "07\n").expect("number");
        let config = format!(
            "[ca]\ndefault_ca = any\n[any]\ndatabase = index.txt\ncrlnumber = number\ndefault_md = {digest}\n\
             default_crl_days = 7\ncrl_extensions = lists\n{extensions}"
        );
        fs::write(file("ca.cnf"), config).expect("configuration");
        let output = Command::new("openssl")
            .current_dir(work.path())
            .args([
                "ca", "-gencrl", "-config", "ca.cnf", "-keyfile", "ca.key", "-cert", "ca.pem",
            ])
            .output()
            .expect("openssl runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("PEM")
    }
}

/// Somebody's certificate.
pub(crate) struct Holder {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) pem: String,
    pub(crate) key: String,
}

/// A directory with a root, an authority below it, and whatever a test puts there.
pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) root: Authority,
    pub(crate) sub: Authority,
}

/// The serial number of the intermediate.
pub(crate) const SUB_SERIAL: u64 = 0x80_02;

impl World {
    pub(crate) fn new() -> Self {
        let root = Authority::root("Root");
        let sub = Authority::below(&root, "Sub", SUB_SERIAL);
        let world = Self {
            directory: tempfile::tempdir().expect("a directory"),
            root,
            sub,
        };
        world.write("ca.pem", format!("{}{}", world.root.pem, world.sub.pem));
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).expect("written");
    }

    pub(crate) fn write_list(&self, name: &str, authority: &Authority, list: &List<'_>) {
        self.write(name, authority.list(list).pem().expect("PEM"));
    }

    /// A listener with these files of lists; nothing reads its own certificate.
    pub(crate) fn files(&self, lists: &[&str]) -> ServerTlsFiles {
        ServerTlsFiles {
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            ca_file: Some(self.path("ca.pem")),
            ca_path: None,
            ask_client_certificate: true,
            verify_depth: 9,
            append_default_ca: false,
            tls12: true,
            revocation: RevocationSettings {
                crl_files: lists.iter().map(|name| self.path(name)).collect(),
                crl_warning_time: Duration::from_secs(2 * 86_400),
                ..RevocationSettings::default()
            },
            accept_email_protection: false,
        }
    }
}

/// The elements of DER, each with its tag and length.
fn parts(mut der: &[u8]) -> Vec<&[u8]> {
    let mut found = Vec::new();
    while !der.is_empty() {
        let (part, rest) = der.split_at(header(der) + length(der));
        found.push(part);
        der = rest;
    }
    found
}

fn contents(element: &[u8]) -> &[u8] {
    &element[header(element)..]
}

fn header(element: &[u8]) -> usize {
    2 + usize::from(element[1].saturating_sub(0x80))
}

fn length(element: &[u8]) -> usize {
    match element[1] {
        short @ ..0x80 => short.into(),
        _ => element[2..header(element)]
            .iter()
            .fold(0, |sum, octet| sum << 8 | usize::from(*octet)),
    }
}

pub(crate) fn element(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len()).expect("short");
    [&[tag, 0x82], &length.to_be_bytes()[..], contents].concat()
}
