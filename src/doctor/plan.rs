//! The requests to a BMC that an installation needs, derived in this file only.
//!
//! Nothing is asked of it here. Invariant: the plan is the client's own, made by the code that acts.

use super::facts::{PlanFacts, Planned};
use crate::flow::media_base::protocol_remedy;
use shoal_redfish::{Bmc, RedfishError, System};

/// Of an image at `image_url`, of which only the protocol matters.
pub async fn plan(bmc: &Bmc, system: &System, image_url: &str) -> Result<PlanFacts, RedfishError> {
    let plan = bmc.observe_plan(system, image_url).await?;
    let refused = match plan.cds().next() {
        Some(slot) => bmc.observe_refused_protocols(slot, image_url).await,
        None => None,
    };
    let scheme = image_url.split(':').next().unwrap_or_default();
    let http_is_doubtful = scheme.eq_ignore_ascii_case("http") && plan.quirks.contains(&"vmm-control");
    let owned = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
    Ok(PlanFacts {
        switch_on: owned(plan.media_service.to_do()),
        quirks: owned(plan.quirks),
        learned: bmc.learned().list(),
        insert: plan.insert.into(),
        insert_remedy: refused.map(|offered| protocol_remedy(scheme, &offered).to_owned()),
        http_is_doubtful,
        boot: plan.boot.into(),
        reset: plan.reset.into(),
    })
}

/// Where the plan could not be made.
pub fn unknown(why: &str) -> PlanFacts {
    let planned = || Planned { how: None, problem: Some(why.to_owned()) };
    PlanFacts { insert: planned(), boot: planned(), reset: planned(), ..PlanFacts::default() }
}
