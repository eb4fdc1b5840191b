//! The web interface over its routes: sign-in, forms, pages, live updates, as a browser without scripts uses them.
//!
//! What a real browser adds is in `tests/outside`. Invariant: a test acts through forms that a page has rendered,
//! unless it is about a request that no page makes.

mod jobs;
mod live;
mod matrix;
mod oidc;
mod pages;
mod sign_in;

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use shoal::access::{NewToken, Role, TokenOrigin};
use shoal::api::{Access, ApiParts};
use shoal::seal::Sealer;
use shoal::ui::UiParts;
use tower::ServiceExt;

use crate::api::{Fixture, keep_token, share};

pub const HOST: &str = "127.0.0.1:8080";
pub const CSP: &str = "default-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// A controller with the web interface, and the tokens `viewer`, `operator` and `admin`.
pub struct Site {
    pub fixture: Fixture,
    pub router: Router,
}

impl Site {
    pub fn new() -> Site {
        Site::with(|_| {}, |_| {})
    }

    pub fn with(api: impl FnOnce(&mut ApiParts), ui: impl FnOnce(&mut UiParts)) -> Site {
        Site::with_tokens(api, ui, &[Role::Viewer, Role::Operator, Role::Admin])
    }

    fn with_tokens(api: impl FnOnce(&mut ApiParts), ui: impl FnOnce(&mut UiParts), roles: &[Role]) -> Site {
        let mut access = None;
        let fixture = Fixture::with(|parts| {
            api(parts);
            access = Some(parts.access.clone());
        });
        let access = access.unwrap();
        let store = match &access {
            Access::Tokens(tokens) => tokens.store.clone(),
            _ => fixture.store.clone(),
        };
        for &role in roles {
            keep_token(&store, &fixture.world, role.name(), role, role.name());
        }
        let mut parts = UiParts {
            world: fixture.world.clone(),
            api: fixture.router.clone(),
            access,
            sealer: Sealer::new([4; 32]),
            tls: false,
            is_loopback: true,
            public_url: None,
            code_flow: None,
            shutdown: fixture.shutdown.clone(),
        };
        ui(&mut parts);
        let router = fixture.router.clone().merge(shoal::ui::router(parts));
        Site { fixture, router }
    }

    /// Another controller on the same database.
    pub fn beside(&self) -> Site {
        Site::on(self.fixture.store.second_handle())
    }

    fn on(store: shoal::store::Store) -> Site {
        Site::with_tokens(|parts| share(parts, store), |_| {}, &[])
    }

    /// On this store instead of one in memory, with the tokens `viewer` and, for the API, that of the fixture.
    pub async fn over(store: shoal::store::Store) -> Site {
        let site = Site::on(store.clone());
        for (name, role, text) in [("viewer", Role::Viewer, "viewer"), ("test", Role::Admin, "test-token")] {
            let new = NewToken {
                id: shoal::api::new_token_id(&site.fixture.world.rng),
                name: name.to_owned(),
                role,
                origin: TokenOrigin::Created,
                expires_at: None,
                created_at: site.fixture.world.clock.now(),
                created_by: "test".to_owned(),
            };
            store.insert_token(new, text).await.unwrap();
        }
        site
    }

    pub fn browser(&self) -> Browser {
        Browser {
            router: self.router.clone(),
            cookies: BTreeMap::new(),
            host: HOST.to_owned(),
            scheme: "http",
        }
    }

    /// A browser that has signed in with this token.
    pub async fn signed_in(&self, token: &str) -> Browser {
        let mut browser = self.browser();
        let page = browser.sign_in(token).await;
        assert_eq!(page.status, 303, "{}", page.text);
        browser
    }
}

pub struct Browser {
    pub router: Router,
    pub cookies: BTreeMap<String, String>,
    pub host: String,
    pub scheme: &'static str,
}

pub struct Page {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Page {
    #[track_caller]
    pub fn shows(&self, part: &str) {
        assert!(self.text.contains(part), "{part:?} is not in {}", self.text);
    }

    #[track_caller]
    pub fn hides(&self, part: &str) {
        assert!(!self.text.contains(part), "{part:?} is in {}", self.text);
    }

    pub fn location(&self) -> &str {
        self.headers[header::LOCATION].to_str().unwrap()
    }

    /// The value of a hidden field of the form with this action.
    #[track_caller]
    pub fn hidden(&self, action: &str, name: &str) -> String {
        let form = self.text.split(&format!("action=\"{action}\"")).nth(1);
        let form = form.unwrap_or_else(|| panic!("no form for {action} in {}", self.text));
        let field = form.split(&format!("name=\"{name}\" value=\"")).nth(1).expect("the form has the field");
        field.split('"').next().unwrap().to_owned()
    }
}

impl Browser {
    pub async fn get(&mut self, path: &str) -> Page {
        self.send(Method::GET, path, None, &[]).await
    }

    /// Follows one redirect.
    pub async fn follow(&mut self, page: &Page) -> Page {
        assert_eq!(page.status, 303, "{}", page.text);
        let location = page.location().to_owned();
        self.get(&location).await
    }

    /// Sends a form of a page as that page has rendered it.
    pub async fn submit(&mut self, page: &Page, action: &str, fields: &[(&str, &str)]) -> Page {
        let (csrf, once) = (page.hidden(action, "csrf"), page.hidden(action, "once"));
        let mut all = vec![("csrf", csrf.as_str()), ("once", once.as_str())];
        all.extend_from_slice(fields);
        self.post(action, &all).await
    }

    /// A form with whatever fields, from this origin.
    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let origin = format!("{}://{}", self.scheme, self.host);
        self.send(Method::POST, path, Some(fields), &[("origin", &origin)]).await
    }

    pub async fn sign_in(&mut self, token: &str) -> Page {
        let page = self.get("/sign-in").await;
        self.submit(&page, "/sign-in", &[("token", token)]).await
    }

    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        fields: Option<&[(&str, &str)]>,
        headers: &[(&str, &str)],
    ) -> Page {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        let body = fields
            .map(|fields| url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish());
        if body.is_some() {
            request = request.header("content-type", "application/x-www-form-urlencoded");
        }
        let request = request.body(body.map_or(Body::empty(), Body::from)).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        for cookie in head.headers.get_all(header::SET_COOKIE) {
            self.keep(cookie.to_str().unwrap());
        }
        Page {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }

    fn keep(&mut self, set_cookie: &str) {
        let (pair, attributes) = set_cookie.split_once(';').unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        match attributes.contains("Max-Age=0;") {
            true => drop(self.cookies.remove(name)),
            false => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
        }
    }
}
