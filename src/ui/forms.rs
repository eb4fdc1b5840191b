//! Forms: what a browser posts, accepted only with the CSRF token of the session that it was rendered for.
//!
//! Invariants: a handler gets the fields of a form by [`SignedForm`] alone, which has checked the token; the origin
//! was checked before (`gate`).

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use http_body_util::{BodyExt, Limited};

use super::UiState;
use super::csrf::{CSRF_FIELD, ONCE_FIELD, is_masked};
use super::refusal::PageRefusal;
use super::viewer::Viewer;

/// A kickstart of 64 KiB, of which each byte may take three.
const FORM_BYTES_MAX: usize = 256 * 1024;
const FORM_TIMEOUT: Duration = Duration::from_secs(30);

/// The fields of a form that was checked.
pub struct SignedForm(pub FormFields);

/// Fields by name. A field that is given twice has its last value.
#[derive(Debug, Default)]
pub struct FormFields(BTreeMap<String, String>);

impl FormFields {
    /// The value without blanks around it; empty where the field is absent.
    pub fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    pub fn raw(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub fn is_ticked(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Drawn when the form was rendered: a second submit of the same form has the same.
    pub fn once(&self) -> &str {
        self.text(ONCE_FIELD)
    }
}

impl FromRequest<UiState> for SignedForm {
    type Rejection = PageRefusal;

    async fn from_request(request: Request, _state: &UiState) -> Result<SignedForm, PageRefusal> {
        let viewer = request.extensions().get::<Viewer>().cloned().ok_or_else(PageRefusal::broken)?;
        let fields = read(request.into_body()).await?;
        match is_masked(fields.raw(CSRF_FIELD), &viewer.csrf) {
            true => Ok(SignedForm(fields)),
            false => Err(PageRefusal::foreign_form()),
        }
    }
}

/// The fields of a body, not yet checked.
pub async fn read(body: Body) -> Result<FormFields, PageRefusal> {
    let reading = tokio::time::timeout(FORM_TIMEOUT, Limited::new(body, FORM_BYTES_MAX).collect());
    let bytes = match reading.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return Err(PageRefusal::too_large(FORM_BYTES_MAX)),
        Err(_) => return Err(PageRefusal::bad("the form was not received within 30 s")),
    };
    Ok(FormFields(url::form_urlencoded::parse(&bytes).into_owned().collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn fields_are_decoded_and_bounded() {
        let fields = read(Body::from("a=1%2B1&b=x+y&a=2&csrf=%00")).await.ok().unwrap();
        assert_eq!((fields.text("a"), fields.text("b"), fields.text("none")), ("2", "x y", ""));
        let large = "a=".to_owned() + &"x".repeat(FORM_BYTES_MAX);
        assert_eq!(read(Body::from(large)).await.err().unwrap().status, 413);
    }
}
