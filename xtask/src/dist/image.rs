//! `shoal-VERSION-PLATFORM.oci.tar`: the container image, by buildah without a container engine.
//!
//! Its layers are compressed, and it is not. Invariant: built from nothing but the binary and empty folders.

use std::path::Path;

use xtask::source::ROOT;

use super::archive::pack;
use super::binaries::Platform;
use super::{Release, copy, empty, failed, names, root};
use crate::process::{Done, command, run};

const PLACE: &str = "target/image";

pub fn make(release: &Release, platform: Platform, shoal: &Path) -> Done {
    let place = root()?.join(PLACE);
    let (context, image) = (place.join("context"), place.join("oci"));
    empty(&place)?;
    copy(shoal, &context.join("shoal"))?;
    // Only what is in a copied folder keeps its mode.
    for (folder, mode) in
        [("root/var", 0o755), ("root/var/lib", 0o755), ("root/tmp", 0o1777), ("state/shoal", 0o700)]
    {
        empty(&context.join(folder))?;
        let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(context.join(folder), mode)
            .or_else(|error| failed("prepare", &context, &error))?;
    }
    let tag = format!("shoal:{}", release.version);
    let mut build = buildah(&place, "bud");
    build.args([
        "--isolation",
        "chroot",
        "--timestamp",
        &release.epoch,
        "--arch",
        platform.debian(),
        "--tag",
        &tag,
    ]);
    run(build.arg("--file").arg(Path::new(ROOT).join("dist/Containerfile")).arg(&context))?;
    run(buildah(&place, "push").arg(&tag).arg(format!("oci:{}:{tag}", image.display())))?;
    let name = format!("shoal-{}-{}.oci.tar", release.version, platform.debian());
    let parts = names(&image)?;
    let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
    pack(release, &image, &parts, &release.out.join(name))
}

/// With everything that it stores below its place.
fn buildah(place: &Path, verb: &str) -> std::process::Command {
    let mut buildah = command("buildah", &["--storage-driver", "vfs", "--root"]);
    buildah.arg(place.join("store")).arg("--runroot").arg(place.join("run")).arg(verb);
    buildah
}
