//! Describes the routes of the media, which `media` serves, in the API's own document.
//!
//! Nothing here is ever called. Invariant: what is described is what a BMC and an operator may rely
//! on; the tokens' form is not.

use utoipa::OpenApi;

#[derive(OpenApi)]
#[openapi(paths(
    task_iso,
    task_iso_of_insertion,
    task_stick,
    task_stick_of_insertion,
    installer_of_insertion,
    image_of_job,
    probe
))]
struct MediaRoutes;

pub fn describe() -> utoipa::openapi::OpenApi {
    MediaRoutes::openapi()
}

/// The task ISO, for an operator: by range, until the job has ended.
#[utoipa::path(method(get, head), path = "/media/tasks/{job_id}/task.iso", tag = "media",
    params(("job_id" = String, Path), ("Range" = Option<String>, Header)),
    responses((status = 200, content_type = "application/x-iso9660-image"),
        (status = 206, content_type = "application/x-iso9660-image")))]
#[expect(dead_code, reason = "only its description is used")]
fn task_iso() {}

/// The task ISO, for a BMC: the token is in the path.
#[utoipa::path(method(get, head), path = "/media/tasks/{job_id}.{token}/task.iso", tag = "media", security(()),
    params(("job_id" = String, Path), ("token" = String, Path), ("Range" = Option<String>, Header)),
    responses((status = 200, content_type = "application/x-iso9660-image"),
        (status = 206, content_type = "application/x-iso9660-image")))]
#[expect(dead_code, reason = "only its description is used")]
fn task_iso_of_insertion() {}

/// The same as a disk image, for an operator: of jobs whose media layout is `cd-usb`, which have no task ISO.
#[utoipa::path(method(get, head), path = "/media/tasks/{job_id}/task.img", tag = "media",
    params(("job_id" = String, Path), ("Range" = Option<String>, Header)),
    responses((status = 200, content_type = "application/octet-stream"),
        (status = 206, content_type = "application/octet-stream")))]
#[expect(dead_code, reason = "only its description is used")]
fn task_stick() {}

/// The same as a disk image, for a BMC's USB slot (`cd-usb` alone): the token is in the path.
#[utoipa::path(method(get, head), path = "/media/tasks/{job_id}.{token}/task.img", tag = "media", security(()),
    params(("job_id" = String, Path), ("token" = String, Path), ("Range" = Option<String>, Header)),
    responses((status = 200, content_type = "application/octet-stream"),
        (status = 206, content_type = "application/octet-stream")))]
#[expect(dead_code, reason = "only its description is used")]
fn task_stick_of_insertion() {}

/// The vendor's installer with its boot options set, for a BMC: the token is in the path.
#[utoipa::path(method(get, head), path = "/media/installers/{job_id}.{token}/esxi.iso", tag = "media", security(()),
    params(("job_id" = String, Path), ("token" = String, Path), ("Range" = Option<String>, Header)),
    responses((status = 200, content_type = "application/x-iso9660-image"),
        (status = 206, content_type = "application/x-iso9660-image")))]
#[expect(dead_code, reason = "only its description is used")]
fn installer_of_insertion() {}

/// The image that a Linux or Windows job writes, for its host: the token is in the path.
#[utoipa::path(method(get, head), path = "/media/images/{job_id}.{token}/image", tag = "media", security(()),
    params(("job_id" = String, Path), ("token" = String, Path), ("Range" = Option<String>, Header)),
    responses((status = 200, content_type = "application/octet-stream"),
        (status = 206, content_type = "application/octet-stream")))]
#[expect(dead_code, reason = "only its description is used")]
fn image_of_job() {}

/// A small image that a check shows to a BMC for a moment.
#[utoipa::path(method(get, head), path = "/media/probes/{token}/probe.iso", tag = "media", security(()),
    params(("token" = String, Path), ("Range" = Option<String>, Header)),
    responses((status = 200, content_type = "application/x-iso9660-image"),
        (status = 206, content_type = "application/x-iso9660-image")))]
#[expect(dead_code, reason = "only its description is used")]
fn probe() {}
