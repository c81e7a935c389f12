use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use prometheus_client::{encoding::text::encode, registry::Registry};

/// All of a registry, as Prometheus reads it.
pub fn metrics_page(registry: &Registry) -> Response<Full<Bytes>> {
    let mut text = String::new();
    let encoded = encode(&mut text, registry);
    let mut response = Response::new(Full::new(text.into()));
    if encoded.is_err() {
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    }
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
