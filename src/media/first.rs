//! The media server's short way: a BMC's request for an image is answered before any route or layer.
//!
//! An installation makes thousands of such requests, and what stands before the other routes (roles, the form of the
//! host, sites) has no say in them: their path is their proof. All that is not plainly one of them goes to the
//! routes, which answer it alike; there is no answer that only this way gives.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::response::Response;
use axum::{BoxError, Router};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, Method, Request};
use tower::Service;

use super::Media;
use super::server::{Routes, image_behind, not_found};
use super::token::parse_name;

/// A service of images, and of everything else by a router.
#[derive(Clone)]
pub struct MediaFirst {
    images: Option<Arc<Images>>,
    rest: Router,
}

struct Images {
    routes: Routes,
    /// Of every answer.
    headers: HeaderMap,
}

impl Media {
    /// `rest` answers what is no BMC's request for an image. Where the bandwidth is limited it answers all.
    pub fn first(&self, headers: HeaderMap, rest: Router) -> MediaFirst {
        let images = Images { routes: Routes::of(self.clone()), headers };
        MediaFirst { images: self.0.pace.is_none().then(|| Arc::new(images)), rest }
    }
}

impl MediaFirst {
    /// Nothing but the routes.
    pub fn without_media(rest: Router) -> MediaFirst {
        MediaFirst { images: None, rest }
    }
}

impl Images {
    async fn answer(&self, request: &Parts) -> Response {
        let Some((image, name)) = image_behind(request.uri.path()) else { return not_found() };
        let mut response = self.routes.answer(image, name, request).await;
        let headers = response.headers_mut();
        for (name, value) in &self.headers {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        tracing::debug!(medium = image.0.name(), status = response.status().as_u16(), "answered");
        response
    }
}

fn is_for_image<B>(request: &Request<B>) -> bool {
    let (method, uri) = (request.method(), request.uri());
    let name = image_behind(uri.path()).and_then(|(_, name)| parse_name(name));
    let has_token = matches!(name, Some((_, Some(_))));
    has_token && uri.query().is_none() && matches!(*method, Method::GET | Method::HEAD)
}

impl<B> Service<Request<B>> for MediaFirst
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.images.clone().filter(|_| is_for_image(&request)) {
            None => Box::pin(self.rest.call(request)),
            Some(images) => {
                let request = request.into_parts().0;
                Box::pin(async move { Ok(images.answer(&request).await) })
            }
        }
    }
}
