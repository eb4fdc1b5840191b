//! The one integration binary: a file a subject, each named for what it proves.
//!
//! Not the place of unit tests, which sit beside their code. Invariant: nothing here needs a network
//! beyond loopback, and every port is 0.

#![expect(clippy::unwrap_used, reason = "helpers of tests panic as tests do")]

mod access_command;
mod api;
mod backup;
mod captures;
mod client_faults;
mod clock;
mod config;
mod deadlines;
mod demo;
mod disks;
mod docs_commands;
mod docs_links;
mod doctor;
mod doctor_command;
mod doubt;
mod down;
mod emulators;
mod failure_codes;
mod fault_list;
mod fence;
mod fleet;
mod hardware;
mod hooks;
mod hostile;
mod image_command;
mod install;
mod inventory_command;
mod iso_command;
mod iso_tools;
mod kickstart_command;
mod kill;
mod layouts;
mod loops;
mod maintenance;
mod maintenance_iso_command;
mod media;
mod moments;
mod notify;
mod oidc;
mod old_system;
mod operator;
mod os_api;
mod passing_faults;
mod personas;
mod postgres;
mod process;
mod quirks;
mod references;
mod registry;
mod requests;
mod restored;
mod retention;
mod rotation;
mod saves;
mod self_test;
mod serve;
mod shared;
mod sim;
mod sim_command;
mod site;
mod slots;
mod starts;
mod stored;
mod struck;
mod sweep;
mod tidy;
mod tls;
mod two_records;
mod ui;
mod verdicts;

/// A sweep spends a fifth of its time in the allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
