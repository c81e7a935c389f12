//! All doors of the Portal as one HTTP service: the interface for programs, the pages for people, and what operators look at.

use std::pin::Pin;

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tower_service::Service;

use super::{Portal, api, pages};
use crate::http::metrics_page;

/// An answer that is being made.
pub type Answer = Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>;

/// What [`serve`](crate::http::serve) serves.
pub fn service(portal: Portal) -> impl Fn(Request<Incoming>) -> Answer + Clone + Send + Sync + 'static {
    let router: Router = api::routes().merge(pages::routes()).with_state(portal.clone());
    move |request| {
        let (mut router, portal) = (router.clone(), portal.clone());
        Box::pin(async move {
            let answered = router.call(request.map(Body::new)).await;
            let response = answered.unwrap_or_else(|never| match never {});
            portal.0.metrics.request(response.status().as_u16());
            let (mut head, body) = response.into_parts();
            let nosniff = HeaderValue::from_static("nosniff");
            head.headers.entry(header::X_CONTENT_TYPE_OPTIONS).or_insert(nosniff);
            // Most of it is for one user at one moment. What may be kept says so itself.
            head.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
            // All bodies are made in memory.
            let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
            Response::from_parts(head, Full::new(body))
        })
    }
}

/// The counters of this process, for Prometheus: for a listener of its own.
pub fn metrics(portal: Portal) -> impl Fn(Request<Incoming>) -> Answer + Clone + Send + Sync + 'static {
    move |_request| {
        let portal = portal.clone();
        Box::pin(async move { portal.metrics_page() })
    }
}

impl Portal {
    pub(super) fn metrics_page(&self) -> Response<Full<Bytes>> {
        metrics_page(self.0.metrics.registry())
    }
}
