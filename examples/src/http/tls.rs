//! Certificates: what a server shows, and what a client trusts.

use std::{
    fmt, fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use data_encoding::BASE64;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::WebPkiClientVerifier,
};
use sha2::{Digest, Sha256};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// A certificate chain and its key: a server's, or a client's.
#[derive(Debug)]
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Identity {
    /// From PEM files, as certification authorities give them out.
    ///
    /// # Errors
    ///
    /// Files that cannot be read, a key of another certificate, a certificate that is not valid now.
    pub fn read(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        let bad = |path: &Path, e: &dyn fmt::Display| TlsError::File(path.to_owned(), e.to_string());
        let certs: Result<Vec<_>, _> = CertificateDer::pem_file_iter(chain).map_err(|e| bad(chain, &e))?.collect();
        let certs = certs.map_err(|e| bad(chain, &e))?;
        let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| bad(key, &e))?;
        let own = Self { chain: certs, key: secret };
        let first = own.chain.first().ok_or_else(|| bad(chain, &"no certificate is in it"))?;
        check_validity(first, SystemTime::now()).map_err(|e| bad(chain, &e))?;
        own.config(None).map_err(|e| bad(key, &format!("it does not fit {}: {e}", chain.display())))?;
        Ok(own)
    }

    /// The one that was made here before, in `dir`, or a new one, signed by itself and good for the names and addresses given
    /// and for twenty years: clients know it by its [`Pin`].
    ///
    /// # Errors
    ///
    /// A directory that cannot be written; files in it that are not what was written.
    pub fn keep(dir: &Path, names: &[String]) -> Result<Self, TlsError> {
        let (chain, key) = (dir.join("tls-cert.pem"), dir.join("tls-key.pem"));
        if !(chain.exists() && key.exists()) {
            let made = rcgen::KeyPair::generate().and_then(|pair| {
                let mut params = rcgen::CertificateParams::new(names)?;
                params.distinguished_name.push(rcgen::DnType::CommonName, "ppsp");
                let year = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()) / 31_556_952 + 1970;
                params.not_before = rcgen::date_time_ymd(year as i32 - 1, 1, 1);
                params.not_after = rcgen::date_time_ymd(year as i32 + 20, 1, 1);
                Ok((params.self_signed(&pair)?.pem(), zeroize::Zeroizing::new(pair.serialize_pem())))
            });
            let (certificate, secret) = made.map_err(|e| TlsError::Making(e.to_string()))?;
            // The key first: a certificate without its key would be of no use, and would not be made again.
            write_private(&key, secret.as_bytes()).map_err(|e| TlsError::File(key.clone(), e.to_string()))?;
            write_private(&chain, certificate.as_bytes()).map_err(|e| TlsError::File(chain.clone(), e.to_string()))?;
        }
        Self::read(&chain, &key)
    }

    /// What clients may know it by.
    pub fn pin(&self) -> Pin {
        self.chain.first().and_then(Pin::of).unwrap_or(Pin::NONE)
    }

    fn config(&self, clients: Option<&Path>) -> Result<ServerConfig, TlsError> {
        let refused = |e: rustls::Error| TlsError::Refused(e.to_string());
        let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(refused)?;
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots_of(path)?.into(), provider())
                    .allow_unauthenticated()
                    .build();
                builder.with_client_cert_verifier(verifier.map_err(|e| TlsError::Refused(e.to_string()))?)
            }
        };
        let mut config = builder.with_single_cert(self.chain.clone(), self.key.clone_key()).map_err(refused)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// What a server needs of TLS. Clients that show a certificate of an authority in the PEM file `clients` are told to the
/// service as [`ClientCertificate`](super::ClientCertificate); nobody has to show one.
///
/// # Errors
///
/// A file of authorities that cannot be read.
pub fn server_config(identity: &Identity, clients: Option<&Path>) -> Result<Arc<ServerConfig>, TlsError> {
    Ok(Arc::new(identity.config(clients)?))
}

/// The SHA-256 of a certificate's public key (its SubjectPublicKeyInfo): `sha256/` and base64. It stays when a certificate is
/// renewed with the same key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// Nobody's.
    pub const NONE: Self = Self([0; 32]);

    /// Of a certificate; `None` where it cannot be read.
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        Some(Self(Sha256::digest(certificate.public_key().raw).into()))
    }

    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256/{}", BASE64.encode(&self.0))
    }
}

/// Not a [`Pin`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a pin is 'sha256/' and the base64 of 32 bytes, as the server prints it")]
pub struct PinError;

impl FromStr for Pin {
    type Err = PinError;
    fn from_str(text: &str) -> Result<Self, PinError> {
        let bytes = BASE64.decode(text.strip_prefix("sha256/").ok_or(PinError)?.as_bytes()).map_err(|_| PinError)?;
        Ok(Self(bytes.try_into().map_err(|_| PinError)?))
    }
}

/// Whom a client believes to be the server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Trust {
    /// Whom the authorities of this system vouch for.
    System,
    /// Who has this key, whatever else its certificate says.
    Pin(Pin),
}

impl Trust {
    /// What a client needs of TLS, with a certificate to show where there is one, and where it looks after a handshake for the pin it has met.
    ///
    /// # Errors
    ///
    /// [`TlsError`].
    pub(crate) fn client(self, shown: Option<&Identity>) -> Result<(Arc<ClientConfig>, Seen), TlsError> {
        let seen = Seen::default();
        let authorities = match self {
            Self::Pin(_) => None,
            Self::System => system_verifier()?,
        };
        let verifier = Verifier { trust: self, authorities, seen: Arc::clone(&seen) };
        let refused = |e: rustls::Error| TlsError::Refused(e.to_string());
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
        let builder = builder.map_err(refused)?.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(own) => builder.with_client_auth_cert(own.chain.clone(), own.key.clone_key()).map_err(refused)?,
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok((Arc::new(config), seen))
    }
}

/// The pin of the last server that was met.
pub(crate) type Seen = Arc<Mutex<Option<Pin>>>;

/// What is wrong with certificates and keys here.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Of a file.
    #[error("{}: {}", .0.display(), .1)]
    File(PathBuf, String),
    /// A certificate could not be made.
    #[error("cannot make a certificate: {0}")]
    Making(String),
    /// The library refuses it.
    #[error("TLS cannot be set up: {0}")]
    Refused(String),
}

/// Knows a server by its pin, or asks the system's authorities. Signatures of the handshake are checked in both cases.
#[derive(Debug)]
struct Verifier {
    trust: Trust,
    authorities: Option<Arc<WebPkiServerVerifier>>,
    seen: Seen,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let seen = Pin::of(end_entity);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        match (self.trust, &self.authorities) {
            (Trust::Pin(pin), _) if seen == Some(pin) => Ok(ServerCertVerified::assertion()),
            (Trust::Pin(_), _) => Err(rustls::CertificateError::ApplicationVerificationFailure.into()),
            (Trust::System, None) => Err(rustls::CertificateError::UnknownIssuer.into()),
            (Trust::System, Some(authorities)) => {
                authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        None
    }
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<Arc<CryptoProvider>> = std::sync::OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(ring::default_provider())))
}

/// The system's authorities; none where it has none: then nobody is trusted but by a pin.
fn system_verifier() -> Result<Option<Arc<WebPkiServerVerifier>>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Ok(None);
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider()).build();
    verifier.map(Some).map_err(|e| TlsError::Refused(format!("the system's certification authorities: {e}")))
}

fn roots_of(path: &Path) -> Result<RootCertStore, TlsError> {
    let bad = |e: &dyn fmt::Display| TlsError::File(path.to_owned(), e.to_string());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| bad(&e))? {
        roots.add(certificate.map_err(|e| bad(&e))?).map_err(|e| bad(&e))?;
    }
    if roots.is_empty() { Err(bad(&"no certificate is in it")) } else { Ok(roots) }
}

fn check_validity(certificate: &CertificateDer<'_>, now: SystemTime) -> Result<(), String> {
    let (_, certificate) = X509Certificate::from_der(certificate).map_err(|e| format!("not a certificate: {e}"))?;
    let now = now.duration_since(UNIX_EPOCH).map_or(0, |span| span.as_secs()) as i64;
    let validity = certificate.validity();
    if now > validity.not_after.timestamp() {
        return Err(format!("the certificate expired at {}; get a new one", validity.not_after));
    }
    if now < validity.not_before.timestamp() {
        return Err(format!("the certificate is not valid before {}; is the clock right?", validity.not_before));
    }
    Ok(())
}

/// Writes a file that only its owner can read, as a whole or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(fresh, path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_certificate_is_made_once_and_its_key_is_private() {
        let dir = tempfile::tempdir().unwrap();
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let first = Identity::keep(dir.path(), &names).unwrap();
        assert_eq!(Identity::keep(dir.path(), &[]).unwrap().pin(), first.pin());
        let mode = fs::metadata(dir.path().join("tls-key.pem")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let pin: Pin = first.pin().to_string().parse().unwrap();
        assert_eq!(pin, first.pin());
        assert!("sha256/abc".parse::<Pin>().is_err() && "sha1/".parse::<Pin>().is_err());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let make = |name: &str, last: i32| {
            let pair = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
            (params.not_before, params.not_after) =
                (rcgen::date_time_ymd(2001, 1, 1), rcgen::date_time_ymd(last, 1, 1));
            let (cert, key) = (dir.path().join(format!("{name}.pem")), dir.path().join(format!("{name}.key")));
            fs::write(&cert, params.self_signed(&pair).unwrap().pem()).unwrap();
            fs::write(&key, pair.serialize_pem()).unwrap();
            (cert, key)
        };
        let (old, old_key) = make("old", 2002);
        let (good, good_key) = make("good", 2200);
        let said = |cert: &Path, key: &Path| Identity::read(cert, key).unwrap_err().to_string();
        assert!(said(&old, &old_key).contains("expired"), "{}", said(&old, &old_key));
        assert!(said(&good, &old_key).contains("does not fit"), "{}", said(&good, &old_key));
        assert!(said(&good, &good).contains("good.pem"));
        assert!(said(&dir.path().join("none"), &good_key).contains("none"));
        assert!(Identity::read(&good, &good_key).is_ok());
    }
}
