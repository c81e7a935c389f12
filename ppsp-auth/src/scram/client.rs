//! Who signs in. One type for each moment of the exchange.

use alloc::{format, string::String};

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{
    Nonce, ScramError,
    message::{ClientFinal, ClientFirst, GS2_HEADER, ServerFinal, ServerFirst, auth_message, nonce_text},
    verifier::{Keys, stored_key},
};
use crate::{Password, Secret, UserName};

/// A client that has said who it is.
///
/// ```
/// use ppsp_auth::{Password, Secret, scram::{Client, Server, Verifier}};
/// # use core::time::Duration;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let password = Password::new("correct horse")?;
/// let verifier = Verifier::new(&password, [1; 16], 4096)?;
/// let server = Server::new(&Secret::new([2; 32]), 4096);
///
/// let (client, first) = Client::new("alice".parse()?, password, &[3; 18]);
/// let hello = server.hear(&first)?;
/// let challenge = server.challenge(&hello, Some(&verifier), &[4; 18], 1_000);
/// let (client, last) = client.prove(&challenge.message)?;
/// let exchange = server.resume(&challenge.sid, 1_001)?;
/// let login = exchange.verify(&last, Some(&verifier))?;
/// client.finish(&login.message)?;
/// assert_eq!(login.name.as_str(), "alice");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client {
    password: Password,
    nonce: String,
    bare: String,
}

impl Client {
    /// Starts an exchange; the text is the client-first message. `nonce` is fresh chance.
    pub fn new(name: UserName, password: Password, nonce: &Nonce) -> (Self, String) {
        Self::with_nonce_text(&name, password, nonce_text(nonce))
    }

    pub(super) fn with_nonce_text(name: &UserName, password: Password, nonce: String) -> (Self, String) {
        let bare = ClientFirst::write_bare(name, &nonce);
        let first = format!("{GS2_HEADER}{bare}");
        (Self { password, nonce, bare }, first)
    }

    /// Answers the server-first message; the text is the client-final message. Takes some tenths of a second of one
    /// core with 600 000 iterations: not for the thread that serves connections.
    ///
    /// # Errors
    ///
    /// [`ScramError::Nonce`] where the server's nonce does not go on from the client's, [`ScramError::Iterations`]
    /// where a server, perhaps a false one, asks for too little or too much work; what the reader finds wrong.
    pub fn prove(self, server_first: &str) -> Result<(ProofSent, String), ScramError> {
        let message = ServerFirst::read(server_first)?;
        // RFC 5802 §5.1: the client MUST verify that the nonce begins with its own.
        if message.nonce.strip_prefix(&self.nonce).is_none_or(str::is_empty) {
            return Err(ScramError::Nonce);
        }
        let Keys { client_key, server_key } = Keys::stretch(&self.password, &message.salt, message.iterations)?;
        let without_proof = ClientFinal::write_without_proof(message.nonce);
        let signed = auth_message(&self.bare, server_first, &without_proof);
        let signature = Zeroizing::new(stored_key(&client_key).tag(&[signed.as_bytes()]));
        let mut proof = *client_key.as_bytes();
        proof.iter_mut().zip(signature.iter()).for_each(|(byte, signature)| *byte ^= signature);
        let expected = Secret::new(server_key.tag(&[signed.as_bytes()]));
        Ok((ProofSent { expected }, ClientFinal::write(&without_proof, &proof)))
    }
}

/// A client that has proven itself and waits for the server's proof.
#[derive(Debug)]
pub struct ProofSent {
    expected: Secret,
}

impl ProofSent {
    /// Checks the server-final message. Only after this is the client signed in, and at the right server.
    ///
    /// # Errors
    ///
    /// [`ScramError::Refused`] where the server sent an error, [`ScramError::ServerNotProven`] where its proof is
    /// wrong: what else it says is then not to be believed.
    pub fn finish(self, server_final: &str) -> Result<(), ScramError> {
        let message = ServerFinal::read(server_final)?;
        // RFC 5802 §5: the client MUST consider the exchange unsuccessful if the two are different.
        if message.signature.ct_eq(self.expected.as_bytes()).into() { Ok(()) } else { Err(ScramError::ServerNotProven) }
    }
}
