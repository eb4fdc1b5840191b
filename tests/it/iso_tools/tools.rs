//! The tools, and a directory for what they read and write.
//!
//! Invariant: every command's failure shows what it said.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use shoal_image::iso::Overlay;

pub struct Tools {
    dir: tempfile::TempDir,
}

impl Tools {
    pub fn new() -> Tools {
        Tools { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, write: impl FnOnce(&File) -> io::Result<()>) -> PathBuf {
        let path = self.path(name);
        write(&File::create(&path).unwrap()).unwrap();
        path
    }

    /// What isoinfo prints about this image.
    pub fn isoinfo(&self, args: &[&str], image: &Path) -> String {
        String::from_utf8_lossy(&self.isoinfo_bytes(args, image)).into_owned()
    }

    pub fn isoinfo_bytes(&self, args: &[&str], image: &Path) -> Vec<u8> {
        run(Command::new("isoinfo").args(args).arg("-i").arg(image), "genisoimage").stdout
    }

    /// xorriso's report of reading every block.
    pub fn xorriso_check(&self, image: &Path) -> String {
        let output =
            run(Command::new("xorriso").arg("-indev").arg(image).args(["-check_media", "--"]), "xorriso");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Every file of the image as xorriso sees it, by path without the first slash. `mode` says by
    /// which names: `ecma119` (plain), `norock` (Joliet before plain), `any` (Rock Ridge first).
    pub fn extract(&self, image: &Path, mode: &str) -> BTreeMap<String, Vec<u8>> {
        let target = tempfile::tempdir_in(self.dir.path()).unwrap();
        let out = target.path().join("files");
        let mut command = Command::new("xorriso");
        command.args(["-read_fs", mode, "-osirrox", "on:auto_chmod_on", "-indev"]).arg(image);
        run(command.args(["-extract", "/"]).arg(&out), "xorriso");
        let mut files = BTreeMap::new();
        collect(&out, "", &mut files);
        files
    }

    /// A file of the image as pycdlib reads it. `kind` is its keyword: `iso_path`, `joliet_path`
    /// or `rr_path`.
    pub fn pycdlib_read(&self, image: &Path, kind: &str, path: &str) -> Vec<u8> {
        // Debian's own interpreter: its package is for that one.
        let mut command = Command::new("/usr/bin/python3");
        command.args(["-c", PYCDLIB_READ]).arg(image).args([kind, path]);
        run(&mut command, "python3-pycdlib").stdout
    }
}

const PYCDLIB_READ: &str = "
import sys
try:
    import pycdlib
except ImportError:
    sys.exit('install the Debian package python3-pycdlib')
image, kind, path = sys.argv[1:]
iso = pycdlib.PyCdlib()
iso.open(image)
iso.get_file_from_iso_fp(sys.stdout.buffer, **{kind: path})
";

/// Runs a tool to its successful end.
pub fn run(command: &mut Command, package: &str) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            panic!("{name} is missing: install the Debian package {package} (cargo xtask test does)")
        }
        Err(error) => panic!("{name} cannot be started: {error}"),
    };
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed with {}:\n{said}", output.status);
    output
}

/// The base with its overlay, as a file.
pub fn write_overlaid(tools: &Tools, base: &[u8], overlay: &Overlay) -> PathBuf {
    tools.write("changed.iso", |file| {
        file.write_all_at(base, 0)?;
        file.set_len(overlay.size)?;
        overlay.patches.iter().try_for_each(|patch| file.write_all_at(&patch.bytes, patch.offset))
    })
}

fn collect(dir: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
}
