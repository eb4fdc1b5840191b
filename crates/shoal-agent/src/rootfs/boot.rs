//! What makes the installed system start: GRUB for UEFI, installed by the system's own programs.

use std::path::Path;

use super::tree::Tree;
use crate::machine::child;

const GRUB_INSTALL: [&str; 2] = ["usr/sbin/grub-install", "usr/bin/grub-install"];
const GRUB_MODULES: &str = "usr/lib/grub/x86_64-efi";
const GRUB_MKCONFIG: [&str; 2] = ["usr/sbin/grub-mkconfig", "usr/bin/grub-mkconfig"];
const FALLBACK: [&str; 3] = ["efi", "boot", "bootx64.efi"];

/// Refuses an archive that could not be made to start. `esp` is the mountpoint of the EFI system partition.
pub fn require_loader(tree: &Tree<'_>, esp: &str) -> Result<(), String> {
    match has_grub(tree) || has_fallback(&tree.path(esp)) {
        true => Ok(()),
        false => Err(format!(
            "the root file system has neither GRUB for UEFI nor {esp}/EFI/BOOT/BOOTX64.EFI: install the package \
             grub-efi-amd64 in it before it is packed"
        )),
    }
}

/// Writes GRUB's menu, and then GRUB itself, which ends the work: the disk starts from here on. An archive with a
/// loader of its own and without GRUB gets that loader alone.
pub fn install_loader(tree: &mut Tree<'_>, esp: &str) -> Result<(), String> {
    let has_grub = has_grub(tree);
    if has_grub {
        tree.mount_for_programs()?;
        std::fs::create_dir_all(tree.path("boot/grub")).map_err(|error| format!("/boot/grub: {error}"))?;
        let Some(mkconfig) = program(tree, &GRUB_MKCONFIG) else {
            return Err("the root file system has grub-install and no grub-mkconfig".to_owned());
        };
        tree.run(&mkconfig, &["-o", "/boot/grub/grub.cfg"])?;
    }
    tree.mount_esp()?;
    if let Some(install) = program(tree, &GRUB_INSTALL).filter(|_| has_grub) {
        let efi_directory = format!("--efi-directory={esp}");
        let args =
            ["--target=x86_64-efi", &efi_directory, "--boot-directory=/boot", "--removable", "--no-nvram"];
        tree.run(&install, &args)?;
    }
    Ok(())
}

fn has_grub(tree: &Tree<'_>) -> bool {
    program(tree, &GRUB_INSTALL).is_some() && tree.path(GRUB_MODULES).is_dir()
}

/// Its path inside the tree.
fn program(tree: &Tree<'_>, candidates: &[&str]) -> Option<String> {
    let found = candidates.iter().find(|path| tree.path(path).is_file());
    found.map(|path| format!("/{path}"))
}

fn has_fallback(esp: &Path) -> bool {
    let found = FALLBACK.into_iter().try_fold(esp.to_owned(), |folder, name| child(&folder, name));
    found.is_some_and(|file| file.is_file())
}
