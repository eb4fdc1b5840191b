//! The client against small BMCs made up for one behaviour each.
//!
//! Not a simulator (that is `sim`): [`fake`] answers from a table of resources, and each test says
//! in one closure where its BMC differs. Time is paused everywhere.

mod bodies;
mod boot;
mod discovery;
mod fake;
mod lenient;
mod requests;
mod session;
mod storage;
mod tasks;
mod virtual_media;
