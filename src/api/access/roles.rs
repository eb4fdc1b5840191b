//! Who may do what: one table of all routes.
//!
//! It checks nothing (that is [`super::guard()`]) and describes nothing (that is `openapi`, which
//! reads it). Invariant: a route that is not in the table is not served.

use http::Method;

use crate::access::Role;

/// What a request must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// The route authenticates the request: by a secret, or by a token in the path, which belongs to no user.
    OwnProof,
    /// As [`Role::Viewer`], unless the listener is on loopback.
    Metrics,
    Role(Role),
}

const VIEWER: Need = Need::Role(Role::Viewer);
const OPERATOR: Need = Need::Role(Role::Operator);
const ADMIN: Need = Need::Role(Role::Admin);

/// Method, path and need. HEAD is allowed wherever GET is.
const ROUTES: &[(&str, &str, Need)] = &[
    ("GET", "/healthz", Need::Nothing),
    ("GET", "/readyz", Need::Nothing),
    ("GET", "/openapi.json", Need::Nothing),
    ("GET", "/api/v1/recipe.schema.json", Need::Nothing),
    ("GET", "/metrics", Need::Metrics),
    ("GET", "/api/v1/servers", VIEWER),
    ("POST", "/api/v1/servers", OPERATOR),
    ("POST", "/api/v1/import/servers", OPERATOR),
    ("GET", "/api/v1/servers/{serial}", VIEWER),
    ("PATCH", "/api/v1/servers/{serial}", OPERATOR),
    ("PUT", "/api/v1/servers/{serial}", OPERATOR),
    ("DELETE", "/api/v1/servers/{serial}", OPERATOR),
    ("POST", "/api/v1/servers/{serial}/check", OPERATOR),
    ("POST", "/api/v1/servers/{serial}/release", OPERATOR),
    ("POST", "/api/v1/servers/{serial}/inspect", OPERATOR),
    ("GET", "/api/v1/jobs", VIEWER),
    ("POST", "/api/v1/jobs", OPERATOR),
    ("GET", "/api/v1/jobs/{job_id}", VIEWER),
    ("GET", "/api/v1/jobs/{job_id}/reads", VIEWER),
    ("POST", "/api/v1/jobs/{job_id}/cancel", OPERATOR),
    ("POST", "/api/v1/jobs/{job_id}/retry", OPERATOR),
    ("GET", "/api/v1/jobs/{job_id}/events", VIEWER),
    ("GET", "/api/v1/events", VIEWER),
    ("GET", "/api/v1/batches", VIEWER),
    ("POST", "/api/v1/batches", OPERATOR),
    ("GET", "/api/v1/batches/{batch_id}", VIEWER),
    ("POST", "/api/v1/batches/{batch_id}/pause", OPERATOR),
    ("POST", "/api/v1/batches/{batch_id}/resume", OPERATOR),
    ("POST", "/api/v1/batches/{batch_id}/cancel", OPERATOR),
    ("POST", "/api/v1/batches/{batch_id}/retry", OPERATOR),
    ("GET", "/api/v1/images", VIEWER),
    ("POST", "/api/v1/images", ADMIN),
    ("POST", "/api/v1/images/fetch", ADMIN),
    ("DELETE", "/api/v1/images/{image}", ADMIN),
    // Nothing is stored or changed.
    ("POST", "/api/v1/kickstart/lint", VIEWER),
    ("POST", "/api/v1/kickstart/render", OPERATOR),
    ("GET", "/api/v1/tokens", ADMIN),
    ("POST", "/api/v1/tokens", ADMIN),
    ("DELETE", "/api/v1/tokens/{id}", ADMIN),
    ("GET", "/api/v1/audit", ADMIN),
    ("GET", "/api/v1/audit/verify", ADMIN),
    ("POST", "/api/v1/status-webhook/{serial}", Need::OwnProof),
    ("GET", "/api/v1/status-webhook/{serial}/{token}", Need::OwnProof),
    ("POST", "/api/v1/status-webhook/{serial}/{token}", Need::OwnProof),
    // A task ISO holds a kickstart, and a kickstart the root password of what it installs.
    ("GET", "/media/tasks/{job_id}/task.iso", OPERATOR),
    ("GET", "/media/tasks/{job_id}/task.img", OPERATOR),
    ("GET", "/media/tasks/{job_id}.{token}/task.iso", Need::OwnProof),
    ("GET", "/media/tasks/{job_id}.{token}/task.img", Need::OwnProof),
    ("GET", "/media/installers/{job_id}.{token}/esxi.iso", Need::OwnProof),
    ("GET", "/media/images/{job_id}.{token}/image", Need::OwnProof),
    ("GET", "/media/probes/{token}/probe.iso", Need::OwnProof),
];

/// The need of a route; `Err` holds the methods of its path, none where the path is unknown.
pub fn need(method: &Method, path: &str) -> Result<Need, Vec<&'static str>> {
    let asked = if *method == Method::HEAD { "GET" } else { method.as_str() };
    let of_path = ROUTES.iter().filter(|(_, known, _)| *known == path);
    let found = of_path.clone().find(|(method, _, _)| *method == asked);
    found.map(|(_, _, need)| *need).ok_or_else(|| of_path.map(|(method, _, _)| *method).collect())
}

/// The table's name of a path, from the router's (`matched`) and the requested one. The
/// router cannot distinguish a name with a token from one without.
pub fn table_path<'a>(matched: &'a str, asked: &str) -> &'a str {
    let has_token = asked.split('/').nth(3).is_some_and(|name| name.contains('.'));
    match (matched, has_token) {
        ("/media/tasks/{name}/task.iso", true) => "/media/tasks/{job_id}.{token}/task.iso",
        ("/media/tasks/{name}/task.iso", false) => "/media/tasks/{job_id}/task.iso",
        ("/media/tasks/{name}/task.img", true) => "/media/tasks/{job_id}.{token}/task.img",
        ("/media/tasks/{name}/task.img", false) => "/media/tasks/{job_id}/task.img",
        ("/media/installers/{name}/esxi.iso", _) => "/media/installers/{job_id}.{token}/esxi.iso",
        ("/media/images/{name}/image", _) => "/media/images/{job_id}.{token}/image",
        ("/media/probes/{name}/probe.iso", _) => "/media/probes/{token}/probe.iso",
        (other, _) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_found_by_method_and_path() {
        assert_eq!(need(&Method::GET, "/api/v1/jobs"), Ok(VIEWER));
        assert_eq!(need(&Method::HEAD, "/api/v1/jobs"), Ok(VIEWER));
        assert_eq!(need(&Method::PUT, "/api/v1/jobs"), Err(vec!["GET", "POST"]));
        assert_eq!(need(&Method::GET, "/api/v1/secrets"), Err(Vec::new()));
    }

    #[test]
    fn a_task_iso_without_a_token_in_its_path_is_another_route() {
        let name = |asked| table_path("/media/tasks/{name}/task.iso", asked);
        assert_eq!(name("/media/tasks/ab.cd/task.iso"), "/media/tasks/{job_id}.{token}/task.iso");
        assert_eq!(name("/media/tasks/ab/task.iso"), "/media/tasks/{job_id}/task.iso");
        // Decoded later, it holds a token; until then it is an operator's.
        assert_eq!(name("/media/tasks/ab%2Ecd/task.iso"), "/media/tasks/{job_id}/task.iso");
    }
}
