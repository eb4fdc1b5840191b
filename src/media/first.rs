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
use super::server::{Routes, image_behind};
use super::token::parse_name;
use crate::domain::{Drive, Medium};

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
    async fn answer(&self, (medium, drive): (Medium, Drive), name: &str, request: &Parts) -> Response {
        let mut response = self.routes.answer((medium, drive), name, request).await;
        let headers = response.headers_mut();
        for (name, value) in &self.headers {
            headers.entry(name).or_insert_with(|| value.clone());
        }
        tracing::debug!(medium = medium.name(), status = response.status().as_u16(), "answered");
        response
    }
}

/// The image, and the name in its path, that a BMC asks for; none where the routes have to look.
fn image_asked_for<B>(request: &Request<B>) -> Option<((Medium, Drive), String)> {
    let (method, uri) = (request.method(), request.uri());
    let (image, name) = image_behind(uri.path())?;
    let has_token = matches!(parse_name(name), Some((_, Some(_))));
    let is_plain = uri.query().is_none() && matches!(*method, Method::GET | Method::HEAD);
    (has_token && is_plain).then(|| (image, name.to_owned()))
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
        match self.images.clone().zip(image_asked_for(&request)) {
            None => Box::pin(self.rest.call(request)),
            Some((images, (image, name))) => {
                let request = request.into_parts().0;
                Box::pin(async move { Ok(images.answer(image, &name, &request).await) })
            }
        }
    }
}
