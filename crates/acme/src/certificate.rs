//! A certificate chain with its key: read from PEM, checked, and asked what TLS does not need but renewal does.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use instant_acme::CertificateIdentifier;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, Der, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use yasna::models::ObjectIdentifier;
use yasna::tags::{TAG_GENERALIZEDTIME, TAG_UTCTIME};
use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, BERReader, BERReaderSeq, Tag};

/// The part of its life, counted from the end, in which a certificate is renewed.
const RENEWED_IN_LAST: u32 = 3;
/// The part of its life by which renewals differ at most, so that what was issued together is not renewed together.
const SPREAD: f64 = 1.0 / 60.0;
/// The part of its life, counted from the end, in which a certificate that is not renewed is worth a warning.
const WARNED_IN_LAST: u32 = 6;
/// The extension authorityKeyIdentifier. RFC 5280, section 4.2.1.1.
const AUTHORITY_KEY_IDENTIFIER: &[u64] = &[2, 5, 29, 35];

/// The cryptography of TLS in this process.
pub(crate) fn provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// A chain with its key.
#[derive(Debug)]
pub(crate) struct Certificate {
    pub(crate) certified: Arc<CertifiedKey>,
    /// From when to when it is valid.
    pub(crate) validity: Range<SystemTime>,
    /// How the authority names it. RFC 9773, section 4.1. Nothing if it does not say who signed it.
    pub(crate) identifier: Option<CertificateIdentifier<'static>>,
}

impl Certificate {
    /// Reads a private key and a chain in PEM (RFC 7468).
    ///
    /// # Errors
    /// When it is not that, the key is not the certificate's, or the certificate is not the host's: why.
    pub(crate) fn read(pem: &[u8], host: &str) -> Result<Self, String> {
        let key = PrivateKeyDer::from_pem_slice(pem).map_err(|error| format!("it has no private key: {error}"))?;
        let chain = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("it has no certificate: {error}"))?;
        let leaf = chain.first().ok_or("it has no certificate")?;
        let told = |error| format!("its certificate cannot be read: {error:?}");
        let read = yasna::parse_der(leaf, fields).map_err(told)?;
        let parsed = ParsedCertificate::try_from(leaf).map_err(|error| error.to_string())?;
        let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
        verify_server_name(&parsed, &name).map_err(|_| format!("its certificate is not for {host}"))?;
        let certified = CertifiedKey::from_der(chain, key, &provider())
            .map_err(|error| format!("its key is not its certificate's: {error}"))?;
        let identifier = read.authority_key.as_ref().map(|authority| {
            let serial = Der::from_slice(&read.serial);
            CertificateIdentifier::new(Der::from_slice(authority), serial).into_owned()
        });
        Ok(Self { certified: Arc::new(certified), validity: read.validity, identifier })
    }

    /// Whether a client takes it at a moment.
    pub(crate) fn is_valid(&self, now: SystemTime) -> bool {
        self.validity.contains(&now)
    }

    fn lifetime(&self) -> Duration {
        self.validity.end.duration_since(self.validity.start).unwrap_or_default()
    }

    /// When to renew it: when a third of its life is left, and a little before that by chance.
    pub(crate) fn renew_at(&self) -> SystemTime {
        self.validity.end - self.lifetime() / RENEWED_IN_LAST - self.lifetime().mul_f64(SPREAD * chance())
    }

    /// When a person should know that it was not renewed.
    pub(crate) fn warn_at(&self) -> SystemTime {
        self.validity.end - self.lifetime() / WARNED_IN_LAST
    }
}

/// From when to when a certificate in DER is valid. Nothing if it is none.
pub fn validity(der: &[u8]) -> Option<Range<SystemTime>> {
    yasna::parse_der(der, fields).ok().map(|fields| fields.validity)
}

/// A number from 0 to 1. The standard library seeds its hashers from the system's random numbers; nothing secret depends on it.
pub(crate) fn chance() -> f64 {
    f64::from(RandomState::new().build_hasher().finish() as u32) / f64::from(u32::MAX)
}

/// What is read of an X.509 certificate. RFC 5280, section 4.1.
struct Fields {
    /// The serial number's content bytes, as they are encoded.
    serial: Vec<u8>,
    validity: Range<SystemTime>,
    /// The key identifier of who signed it.
    authority_key: Option<Vec<u8>>,
}

fn fields(reader: BERReader<'_, '_>) -> ASN1Result<Fields> {
    reader.read_sequence(|certificate| {
        let fields = certificate.next().read_sequence(|tbs| {
            tbs.read_optional(|version| version.read_tagged(Tag::context(0), |version| version.read_u8()))?;
            let serial = tbs.next().read_tagged_der()?.value().to_vec();
            skip(tbs, 2)?;
            let validity = tbs.next().read_sequence(|validity| Ok(time(validity.next())?..time(validity.next())?))?;
            skip(tbs, 2)?;
            let mut authority = None;
            while let Some(field) = tbs.read_optional(|field| field.read_tagged_der())? {
                if field.tag() == Tag::context(3) {
                    authority = yasna::parse_der(field.value(), authority_key)?;
                }
            }
            Ok(Fields { serial, validity, authority_key: authority })
        })?;
        skip(certificate, 2)?;
        Ok(fields)
    })
}

/// Passes over fields of any type.
fn skip(sequence: &mut BERReaderSeq<'_, '_>, count: usize) -> ASN1Result<()> {
    for _ in 0..count {
        sequence.next().read_der()?;
    }
    Ok(())
}

fn time(reader: BERReader<'_, '_>) -> ASN1Result<SystemTime> {
    match reader.lookahead_tag()? {
        TAG_UTCTIME => Ok((*reader.read_utctime()?.datetime()).into()),
        TAG_GENERALIZEDTIME => Ok((*reader.read_generalized_time()?.datetime()).into()),
        _ => Err(ASN1Error::new(ASN1ErrorKind::Invalid)),
    }
}

/// The key identifier in the extensions.
fn authority_key(reader: BERReader<'_, '_>) -> ASN1Result<Option<Vec<u8>>> {
    let wanted = ObjectIdentifier::from_slice(AUTHORITY_KEY_IDENTIFIER);
    let mut found = None;
    reader.read_sequence_of(|reader| {
        reader.read_sequence(|extension| {
            let name = extension.next().read_oid()?;
            extension.read_optional(|critical| critical.read_bool())?;
            let content = extension.next().read_bytes()?;
            if name == wanted {
                found = yasna::parse_der(&content, |reader| {
                    reader.read_sequence(|parts| {
                        // The key identifier, and the name and serial number of the issuer's certificate, each of which may be missing.
                        let mut key = None;
                        while let Some(part) = parts.read_optional(|part| part.read_tagged_der())? {
                            key = key.or_else(|| (part.tag() == Tag::context(0)).then(|| part.value().to_vec()));
                        }
                        Ok(key)
                    })
                })?;
            }
            Ok(())
        })
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyIdMethod, KeyPair, SerialNumber, date_time_ymd};

    use super::*;

    /// A certificate for `a.example` of 2026 to 2055, with its key, in PEM.
    fn pem() -> String {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_identifier_method = KeyIdMethod::PreSpecified(vec![0xC0, 0xFF, 0xEE]);
        let issuer = Issuer::new(authority, KeyPair::generate().unwrap());
        let mut parameters = CertificateParams::new(["a.example".to_owned()]).unwrap();
        parameters.serial_number = Some(SerialNumber::from_slice(&[0xCA, 0xFE]));
        parameters.use_authority_key_identifier_extension = true;
        parameters.not_before = date_time_ymd(2026, 1, 1);
        parameters.not_after = date_time_ymd(2055, 1, 1);
        let key = KeyPair::generate().unwrap();
        format!("{}{}", key.serialize_pem(), parameters.signed_by(&key, &issuer).unwrap().pem())
    }

    #[test]
    fn what_renewal_needs_is_read() {
        let certificate = Certificate::read(pem().as_bytes(), "a.example").unwrap();
        let seconds = |moment: SystemTime| moment.duration_since(UNIX_EPOCH).unwrap().as_secs();
        assert_eq!(seconds(certificate.validity.start), 1_767_225_600);
        // After 2049 a certificate writes years with four digits.
        assert_eq!(seconds(certificate.validity.end), 2_682_374_400);
        // The serial number's sign byte is a part of it: RFC 9773, section 4.1.
        assert_eq!(certificate.identifier.as_ref().unwrap().to_string(), "wP_u.AMr-");
        let life = certificate.lifetime();
        let left = certificate.validity.end.duration_since(certificate.renew_at()).unwrap();
        assert!(left >= life / 3 && left <= life.mul_f64(1.0 / 3.0 + SPREAD) + Duration::from_secs(1));
        assert!(certificate.warn_at() > certificate.renew_at());
    }

    #[test]
    fn what_is_not_the_hosts_is_refused() {
        let check = |pem: &str, host: &str, expected: &str| {
            let reason = Certificate::read(pem.as_bytes(), host).unwrap_err();
            assert!(reason.starts_with(expected), "{reason}");
        };
        let (one, other) = (pem(), pem());
        let certificate = |text: &str| text[text.find("-----BEGIN CERT").unwrap()..].to_owned();
        let key = |text: &str| text[..text.find("-----BEGIN CERT").unwrap()].to_owned();
        check(&one, "b.example", "its certificate is not for b.example");
        check(&certificate(&one), "a.example", "it has no private key");
        check(&key(&one), "a.example", "it has no certificate");
        check(&format!("{}{}", key(&other), certificate(&one)), "a.example", "its key is not its certificate's");
        check("", "a.example", "it has no private key");
        check(&one[..one.len() - 60], "a.example", "it has no certificate");
    }
}
