//! What an action takes, as its ActionInfo lists it.
//!
//! Pure. Invariant: what the ActionInfo leaves out is not required and has no list of values.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::json;

/// One parameter of an ActionInfo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "testing", derive(schemars::JsonSchema))]
pub struct Parameter {
    pub(super) name: String,
    pub(super) required: bool,
    pub(super) allowed: Vec<String>,
}

pub(super) fn parse_parameters(body: &Value) -> Vec<Parameter> {
    let parameters = json::list(body, "/Parameters").iter();
    let named = parameters.filter_map(|parameter| {
        let name = json::text(parameter, "/Name")?;
        let required = json::flag(parameter, "/Required").unwrap_or(false);
        Some(Parameter { name, required, allowed: json::texts(parameter, "/AllowableValues") })
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_action_info_is_read_leniently() {
        let body = json!({"Parameters": [
            {"Name": "ResetType", "Required": "true", "AllowableValues": "On"}, {"Required": true}, null, 3,
        ]});
        let want = Parameter { name: "ResetType".into(), required: true, allowed: vec!["On".into()] };
        assert_eq!(parse_parameters(&body), [want]);
    }
}
