//! Which module may import which: the architecture, as data.
//!
//! The rules that read it are in `arrows.rs`. Invariant: a module of `src/` without a line here
//! fails, so that a new one states its place before it imports anything.

/// What one module may reach.
pub struct Arrow {
    /// A module, or a pure part of one.
    pub from: &'static str,
    /// Modules, or single items of them, that it may name. Itself is always allowed.
    pub to: &'static [&'static str],
    pub sentence: &'static str,
}

/// What every module and every pure part may name, without its doors.
pub const BASE: &str = "shoal_base";
/// What a pure part may name of the base only where its line says so: the doors are in there.
pub const DOORS: &str = "shoal_base::world";

/// May name anything.
pub const EVERYTHING: &str = "*";

pub const ARROWS: &[Arrow] = &[
    Arrow { from: "cli", to: &[EVERYTHING], sentence: "cli puts everything together" },
    Arrow {
        from: "config",
        to: &[
            "access::Role",
            "api::NotifySecret",
            "api::NotifySettings",
            "domain",
            "engine::Retention",
            "flow::policy",
            "oidc::CodeFlowSettings",
            "oidc::OidcSettings",
            "shoal_redfish::Limits",
            "media::InstallerSource",
            "media::MediaSettings",
            "registry::RegistrySettings",
            "seal::KeySource",
            "seal::MasterKey",
            "store::DatabaseAddress",
            "store::PostgresAddress",
        ],
        sentence: "config knows the settings' types and nothing that acts on them",
    },
    Arrow {
        from: "access",
        to: &[],
        sentence: "access says who may do what, and knows no header and no table",
    },
    Arrow { from: "oidc", to: &["access"], sentence: "oidc judges tokens and knows no route" },
    Arrow {
        from: "api",
        to: &[
            "access",
            "oidc",
            "domain",
            "store",
            "media",
            "engine",
            "token",
            "doctor::Check",
            "doctor::CheckStatus",
            "doctor::Checker",
            "doctor::Readiness",
            "doctor::CheckReport",
            "problem",
            "registry",
            "release",
            "shoal_kickstart",
            "shoal_recipe",
            "shoal_redfish::Hardware",
            "shoal_redfish::Processors",
            "shoal_redfish::Nic",
            "shoal_redfish::Drive",
            "shoal_redfish::Firmware",
        ],
        sentence: "api translates between HTTP and domain, store, media and engine",
    },
    Arrow {
        from: "ui",
        to: &[
            "access::Actor",
            "access::Role",
            "api::Access",
            "api::ApiError",
            "api::SignedIn",
            "api::finished",
            "oidc::SignInAttempt",
            "oidc::CallbackParams",
            "oidc::CodeFlow",
            "oidc::CodeFlowError",
            "oidc::OidcError",
            "seal::Sealer",
        ],
        sentence: "ui is a client of the API's router, and knows neither store nor job",
    },
    Arrow { from: "domain", to: &["shoal_recipe"], sentence: "domain imports nothing above it" },
    Arrow {
        from: "store",
        to: &["access", "domain", "seal", "shoal_redfish::BmcMemory", "shoal_redfish::Hardware"],
        sentence: "store keeps jobs and knows nothing of how they go forward",
    },
    Arrow {
        from: "flow",
        to: &["domain", "shoal_redfish", "shoal_image", "media", "registry::Registries", "store"],
        sentence: "flow takes one job forward and knows neither a path, nor who drives the job, nor who asks for it",
    },
    Arrow {
        from: "paths",
        to: &["domain", "shoal_redfish", "shoal_image", "shoal_recipe", "media", "store", "token", "flow"],
        sentence: "a path adds its own steps to those of flow, and knows no other path",
    },
    Arrow {
        from: "engine",
        to: &["access", "domain", "flow", "paths", "store"],
        sentence: "engine claims jobs and drives them; it knows no step and no BMC",
    },
    Arrow { from: "shoal_redfish", to: &[], sentence: "shoal-redfish speaks to BMCs, and knows no job" },
    Arrow {
        from: "shoal_kickstart",
        to: &[],
        sentence: "shoal-kickstart reads and judges text, and knows no job",
    },
    Arrow {
        from: "shoal_recipe",
        to: &[],
        sentence: "shoal-recipe is what controller and agent exchange, and knows neither",
    },
    Arrow {
        from: "shoal_agent",
        to: &["shoal_image", "shoal_recipe"],
        sentence: "shoal-agent runs on the host, and knows the recipe and the report alone",
    },
    Arrow {
        from: "shoal_base",
        to: &[],
        sentence: "shoal-base is what everything stands on, and knows no feature",
    },
    Arrow {
        from: "shoal_image",
        to: &[],
        sentence: "shoal-image is about bytes, and knows neither jobs nor files",
    },
    Arrow {
        from: "media",
        to: &["domain", "problem", "shoal_image", "shoal_recipe", "store", "token"],
        sentence: "media serves images and keeps the read trace",
    },
    Arrow {
        from: "doctor",
        to: &[
            "domain",
            "shoal_redfish",
            "shoal_image",
            "media",
            "flow::layout",
            "flow::identity",
            "flow::media_base",
        ],
        sentence: "doctor looks at one server and knows no job that runs",
    },
    Arrow {
        from: "release",
        to: &["domain", "shoal_redfish", "flow::identity"],
        sentence: "release frees one BMC and knows no job that runs",
    },
    Arrow {
        from: "registry",
        to: &["domain", "media", "shoal_recipe"],
        sentence: "registry resolves references and reads layers, and knows no job",
    },
    Arrow { from: "problem", to: &[], sentence: "problem is a body, and knows no route" },
    Arrow { from: "token", to: &["domain"], sentence: "a token follows from a key and what it is for" },
    Arrow { from: "seal", to: &["domain"], sentence: "seal keeps secrets at rest and knows no table" },
    Arrow {
        from: "shoal_sim",
        to: &["shoal_image", "shoal_recipe"],
        sentence: "shoal-sim stands in for hardware and shares no code with what it proves, but the ISO reader and the \
                   types of a recipe",
    },
    Arrow {
        from: "fuzz",
        to: &[EVERYTHING],
        sentence: "fuzz feeds whatever reads bytes, and no module names it",
    },
];

/// Parts that are functions of their input: no I/O, no clock, no doors. They may name what is
/// listed, their own children, one another within a module, and types of the module around them.
pub const PURE: &[Arrow] = &[
    Arrow {
        from: "domain",
        to: &[
            "shoal_base::world::TlsPolicy",
            "shoal_base::world::after",
            "shoal_base::world::elapsed",
            "shoal_recipe",
        ],
        sentence: "the domain is pure",
    },
    Arrow { from: "access", to: &["domain"], sentence: "access is pure" },
    Arrow {
        from: "oidc::claims",
        to: &["access", "shoal_base::world::after"],
        sentence: "who it is follows from claims and now",
    },
    Arrow { from: "paths::esxi::kickstart", to: &[], sentence: "a hook is text in, text out" },
    Arrow { from: "shoal_kickstart", to: &[], sentence: "shoal-kickstart is pure over text" },
    Arrow {
        from: "shoal_recipe",
        to: &["shoal_base::world::TlsPolicy"],
        sentence: "shoal-recipe is pure over text",
    },
    Arrow {
        from: "shoal_agent::table",
        to: &["shoal_image::iso::ReadAt"],
        sentence: "a partition table is bytes",
    },
    Arrow {
        from: "shoal_agent::identity",
        to: &["shoal_recipe"],
        sentence: "an identity follows from what the firmware says",
    },
    Arrow {
        from: "shoal_agent::disk::choose",
        to: &["shoal_recipe", "shoal_agent::disk", "shoal_agent::failure"],
        sentence: "the choice follows from the disks and the recipe",
    },
    Arrow {
        from: "shoal_agent::disk::foreign",
        to: &["shoal_image::iso::ReadAt", "shoal_agent::table"],
        sentence: "what is on a disk follows from its bytes",
    },
    Arrow {
        from: "shoal_agent::image",
        to: &["shoal_recipe", "shoal_agent::failure", "shoal_agent::table"],
        sentence: "what an image is follows from its bytes",
    },
    Arrow { from: "shoal_agent::esp", to: &[], sentence: "a boot loader is found in a volume's bytes" },
    Arrow { from: "shoal_agent::seed", to: &[], sentence: "a seed is bytes" },
    Arrow { from: "shoal_image", to: &[], sentence: "shoal-image is pure over bytes" },
    Arrow {
        from: "shoal_redfish::quirks",
        to: &[],
        sentence: "quirks follow from what a BMC says of itself",
    },
    Arrow {
        from: "doctor::judge",
        to: &["flow::media_base"],
        sentence: "a verdict follows from what was seen",
    },
    Arrow { from: "flow::plan", to: &["domain"], sentence: "the plan is pure" },
    Arrow { from: "flow::policy", to: &["domain"], sentence: "the policy is pure" },
    Arrow { from: "flow::media_base", to: &[], sentence: "the remedies follow from a URL" },
    Arrow {
        from: "flow::boot_source",
        to: &["domain"],
        sentence: "a boot follows from two values of one source",
    },
    Arrow {
        from: "paths::esxi::detect",
        to: &[
            "domain",
            "flow::policy",
            "flow::boot_source",
            "shoal_base::world::after",
            "shoal_base::world::elapsed",
        ],
        sentence: "a verdict is a function of observations, policy and now",
    },
    Arrow {
        from: "paths::maintenance::judge",
        to: &[
            "domain",
            "flow::Decision",
            "shoal_base::world::after",
            "shoal_base::world::elapsed",
            "shoal_recipe::Completion",
            "shoal_recipe::FailedStep",
        ],
        sentence: "a verdict is a function of reports, reads, power and now",
    },
    Arrow { from: "shoal_sim::machine", to: &[], sentence: "the machine is pure hardware" },
    Arrow {
        from: "shoal_sim::guest",
        to: &["shoal_image::iso", "shoal_recipe"],
        sentence: "the guest is pure software",
    },
    Arrow { from: "shoal_sim::faults", to: &[], sentence: "faults are data" },
];
