//! HTTP over TLS, for Portal, tracker and those who talk to them: [`serve`] with its limits, [`HttpClient`] with its trust, the
//! certificates of both. It knows neither Portal nor tracker.

mod body;
mod client;
mod error;
mod logging;
mod pages;
mod server;
mod tls;

pub use body::{ReadError, read_body};
pub use client::HttpClient;
pub use error::HttpError;
pub use logging::start_logging;
pub(crate) use pages::encode_family;
pub use pages::{json_page, metrics_page};
pub use server::{ClientCertificate, Limits, Remote, Serving, Shutdown, bind, serve};
pub use tls::{Identity, Pin, PinError, TlsError, Trust, server_config, write_private};
