//! What the test authority reads of DER: certificate signing requests (RFC 2986) and extensions of certificates (RFC 5280).

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use yasna::models::ObjectIdentifier;
use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, BERReader, Tag};

const SUBJECT_ALTERNATIVE_NAME: &[u64] = &[2, 5, 29, 17];
const EXTENSION_REQUEST: &[u64] = &[1, 2, 840, 113_549, 1, 9, 14];
/// RFC 8737, section 3.
const ACME_IDENTIFIER: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 31];

/// An extension: its name, whether it is critical, its content.
struct Extension {
    name: ObjectIdentifier,
    critical: bool,
    content: Vec<u8>,
}

impl Extension {
    fn is(&self, name: &[u64]) -> bool {
        self.name == ObjectIdentifier::from_slice(name)
    }
}

fn extensions(reader: BERReader<'_, '_>) -> ASN1Result<Vec<Extension>> {
    reader.collect_sequence_of(|reader| {
        reader.read_sequence(|extension| {
            let name = extension.next().read_oid()?;
            let critical = extension.read_optional(|critical| critical.read_bool())?.unwrap_or(false);
            Ok(Extension { name, critical, content: extension.next().read_bytes()? })
        })
    })
}

/// The DNS names of a subjectAltName. Any other name is an error.
fn names(extensions: &[Extension]) -> ASN1Result<Vec<String>> {
    let found = extensions.iter().find(|extension| extension.is(SUBJECT_ALTERNATIVE_NAME));
    let found = found.ok_or_else(|| ASN1Error::new(ASN1ErrorKind::Invalid))?;
    yasna::parse_der(&found.content, |reader| {
        reader.collect_sequence_of(|name| name.read_tagged_implicit(Tag::context(2), |name| name.read_ia5_string()))
    })
}

/// A certificate signing request whose signature is right.
pub(crate) struct SigningRequest {
    /// The uncompressed point of its P-256 key.
    pub(crate) key: Vec<u8>,
    pub(crate) names: Vec<String>,
}

impl SigningRequest {
    pub(crate) fn read(der: &[u8]) -> Result<Self, String> {
        let parsed = yasna::parse_der(der, |reader| {
            reader.read_sequence(|request| {
                let signed = request.next().read_der()?;
                request.next().read_der()?;
                Ok((signed, request.next().read_bitvec_bytes()?.0))
            })
        });
        let (signed, signature) = parsed.map_err(|error| format!("{error:?}"))?;
        let (key, names) = yasna::parse_der(&signed, information).map_err(|error| format!("{error:?}"))?;
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &key)
            .verify(&signed, &signature)
            .map_err(|_| "the request is not signed by its key")?;
        Ok(Self { key, names })
    }
}

fn information(reader: BERReader<'_, '_>) -> ASN1Result<(Vec<u8>, Vec<String>)> {
    reader.read_sequence(|information| {
        information.next().read_u8()?;
        information.next().read_sequence_of(|_| Err(ASN1Error::new(ASN1ErrorKind::Extra)))?;
        let key = information.next().read_sequence(|info| {
            info.next().read_der()?;
            Ok(info.next().read_bitvec_bytes()?.0)
        })?;
        let mut requested = Vec::new();
        information.next().read_tagged_implicit(Tag::context(0), |attributes| {
            attributes.read_set_of(|attribute| {
                attribute.read_sequence(|attribute| {
                    let name = attribute.next().read_oid()?;
                    let values = attribute.next();
                    if name != ObjectIdentifier::from_slice(EXTENSION_REQUEST) {
                        return values.read_der().map(drop);
                    }
                    values.read_set_of(|value| {
                        requested = extensions(value)?;
                        Ok(())
                    })
                })
            })
        })?;
        Ok((key, names(&requested)?))
    })
}

/// The SubjectPublicKeyInfo of a certificate.
pub(crate) fn public_key(certificate: &[u8]) -> Result<Vec<u8>, String> {
    yasna::parse_der(certificate, |reader| {
        reader.read_sequence(|certificate| {
            let key = certificate.next().read_sequence(|tbs| {
                let mut fields = Vec::new();
                while let Some(field) = tbs.read_optional(|field| field.read_der())? {
                    fields.push(field);
                }
                fields.into_iter().nth(6).ok_or_else(|| ASN1Error::new(ASN1ErrorKind::Eof))
            })?;
            certificate.next().read_der()?;
            certificate.next().read_der()?;
            Ok(key)
        })
    })
    .map_err(|error| format!("{error:?}"))
}

/// Whether a certificate is the answer to a challenge of TLS-ALPN-01: for this host only, with the critical extension
/// acmeIdentifier that holds this digest. RFC 8737, section 3.
pub(crate) fn validates(certificate: &[u8], host: &str, digest: &[u8]) -> Result<(), String> {
    let extensions = yasna::parse_der(certificate, |reader| {
        reader.read_sequence(|certificate| {
            let found = certificate.next().read_sequence(|tbs| {
                tbs.next().read_tagged(Tag::context(0), |version| version.read_u8())?;
                for _ in 0..6 {
                    tbs.next().read_der()?;
                }
                tbs.next().read_tagged(Tag::context(3), extensions)
            })?;
            certificate.next().read_der()?;
            certificate.next().read_der()?;
            Ok(found)
        })
    })
    .map_err(|error| format!("{error:?}"))?;
    let names = names(&extensions).map_err(|error| format!("{error:?}"))?;
    if names != [host] {
        return Err(format!("the certificate is for {names:?}"));
    }
    let identifier = extensions.iter().find(|extension| extension.is(ACME_IDENTIFIER));
    let identifier = identifier.ok_or("the certificate has no acmeIdentifier")?;
    if !identifier.critical {
        return Err("acmeIdentifier is not critical".to_owned());
    }
    let content = yasna::parse_der(&identifier.content, |reader| reader.read_bytes());
    match content {
        Ok(content) if content == digest => Ok(()),
        _ => Err("acmeIdentifier holds something else".to_owned()),
    }
}
