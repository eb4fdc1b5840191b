//! The third-party programs, and what each needs. Data.
//!
//! Not how they are run. Invariant: a program is here only with its driver.

use super::Extent;
use super::python::Locked;
use crate::debian;

/// One program, or one family that a single driver knows.
pub struct Program {
    pub name: &'static str,
    /// The file in `tests/outside/`.
    pub driver: &'static str,
    pub python: &'static Locked,
    pub packages: &'static [&'static str],
    pub extent: Extent,
    /// Whether it boots the lab's stand-in installer.
    pub boots: bool,
    /// Whether it brings up a lab of its own.
    pub lab: bool,
    /// Far more than it needs on a machine that is busy.
    pub limit_secs: u64,
    /// The least number of checks that pass: a checker that could not look at anything finds no fault.
    pub least: u64,
    pub drives: &'static str,
}

const CLIENTS: Locked =
    Locked { name: "clients", requirements: include_str!("../../../tests/outside/clients.txt") };

/// A hundred packages that only it needs.
const IRONIC: Locked =
    Locked { name: "ironic", requirements: include_str!("../../../tests/outside/ironic.txt") };

const EMULATOR: Locked =
    Locked { name: "emulator", requirements: include_str!("../../../tests/outside/emulator.txt") };

const ANSIBLE: Locked =
    Locked { name: "ansible", requirements: include_str!("../../../tests/outside/ansible.txt") };

const BROWSER: Locked =
    Locked { name: "browser", requirements: include_str!("../../../tests/outside/browser.txt") };

/// Drivers that need nothing but Python itself.
const BARE: Locked = Locked { name: "bare", requirements: "" };

pub const PROGRAMS: &[Program] = &[
    Program { least: 340, ..fast("redfish-protocol-validator", "protocol_validator.py", "a simulated BMC") },
    Program { least: 34, ..fast("redfish-use-case-checkers", "use_case_checkers.py", "simulated BMCs") },
    Program { least: 35, ..fast("sushy", "sushy_client.py", "a simulated BMC") },
    Program {
        least: 7,
        python: &EMULATOR,
        ..fast("sushy-tools", "redfish_emulator.py", "an installation by its emulator, request by request")
    },
    Program { least: 25, ..fast("redfish-utilities", "redfish_utilities.py", "a simulated BMC") },
    Program { least: 35, ..fast("schemathesis", "api_schema.py", "the API") },
    Program {
        least: 20,
        ..fast("openapi-python-client", "api_client.py", "the API, and an installation by it")
    },
    Program { least: 120, packages: &["curl"], ..fast("curl", "ranges.py", "the media of a job") },
    Program {
        least: 5,
        packages: &["qemu-utils", "qemu-block-extra", "nbdkit", "libnbd-bin", "chromium", "curl"],
        extent: Extent::All,
        ..fast("https-readers", "https_readers.py", "the media of a job and the API, over HTTPS")
    },
    Program {
        least: 45,
        ..fast("promtool", "metrics.py", "the metrics of a controller, the alert rules and the dashboard")
    },
    Program {
        least: 240,
        packages: &["chromium", "chromium-driver"],
        python: &BROWSER,
        ..fast("chromium", "web_pages.py", "the web interface of a controller with 200 hosts")
    },
    Program {
        least: 25,
        packages: &["docker-registry", "skopeo", "apache2-utils", "openssl", "curl"],
        ..fast("docker-registry", "registry.py", "the images of jobs, and an installation")
    },
    Program {
        least: 17,
        packages: &["postgresql", "pgbouncer", "haproxy", "faketime"],
        python: &BARE,
        extent: Extent::All,
        ..fast("postgresql", "several_controllers.py", "three controllers, killed and frozen at random")
    },
    Program {
        least: 43,
        python: &ANSIBLE,
        packages: &["git"],
        extent: Extent::All,
        ..fast("ansible", "ansible_collection.py", "the collection's modules, and installations by them")
    },
    Program {
        least: 15,
        python: &IRONIC,
        extent: Extent::All,
        ..fast("ironic", "ironic_standalone.py", "a simulated BMC")
    },
    Program {
        least: 40,
        packages: &["systemd-container"],
        ..fast("systemd", "systemd_unit.py", "the unit, as a booted system's service")
    },
    Program {
        least: 14,
        packages: &["iproute2"],
        python: &BARE,
        ..fast("bash", "practice_page.py", "docs/try-it.md, block after block")
    },
    Program {
        least: 255,
        packages: &[
            "curl",
            "iproute2",
            "jq",
            "openssl",
            "qemu-utils",
            "systemd",
            "util-linux",
            "xorriso",
            "zstd",
        ],
        ..fast("shell", "documents.py", "the commands of the other pages, against simulated BMCs")
    },
    Program {
        least: 8,
        packages: debian::FOR_LAB,
        extent: Extent::All,
        boots: true,
        ..fast("qemu", "boot_by_http.py", "the media of a job, as drives")
    },
    Program {
        least: 16,
        packages: &["iproute2", "mmdebstrap", "qemu-user-static"],
        ..of_release("static", "static_binary.py", "the static binaries, in empty roots")
    },
    Program {
        least: 60,
        packages: &["mmdebstrap", "systemd-container"],
        ..of_release("dpkg", "debian_package.py", "the Debian package, and installations during upgrades")
    },
    Program {
        least: 75,
        packages: debian::FOR_LAB,
        boots: true,
        lab: true,
        limit_secs: 1800,
        ..of_release(
            "first-host",
            "documented_page.py",
            "docs/try-it-esxi.md, followed with the Debian package to an installed host of the lab",
        )
    },
    Program {
        least: 30,
        packages: &["mmdebstrap", "systemd-container"],
        ..of_release("install", "install_page.py", "docs/install.md, followed with archive and package")
    },
    Program {
        least: 12,
        packages: &["iproute2"],
        ..of_release("oci", "container_image.py", "the container images, and an installation by one")
    },
];

/// A program of the first environment that is through within a minute or so.
const fn fast(name: &'static str, driver: &'static str, drives: &'static str) -> Program {
    Program {
        name,
        driver,
        python: &CLIENTS,
        packages: &[],
        extent: Extent::Fast,
        boots: false,
        lab: false,
        limit_secs: 600,
        least: 1,
        drives,
    }
}

/// A program that works on what `cargo xtask dist` has made.
const fn of_release(name: &'static str, driver: &'static str, drives: &'static str) -> Program {
    Program { python: &BARE, extent: Extent::Release, ..fast(name, driver, drives) }
}
