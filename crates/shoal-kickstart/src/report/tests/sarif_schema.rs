//! SARIF against the JSON Schema that OASIS publishes for 2.1.0 (sarif-schema-2.1.0.json, without its descriptions).

use serde_json::Value;

static SCHEMA: &str = include_str!("sarif-2.1.0.schema.json");

/// What is wrong with a log, each fault with its location.
pub fn faults(log: &Value) -> Vec<String> {
    let mut schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    // Its pattern for languages, which are not written here, is no valid expression.
    for place in ["run", "toolComponent"] {
        let language = schema.pointer_mut(&format!("/definitions/{place}/properties/language"));
        language.and_then(Value::as_object_mut).expect("a property").remove("pattern");
    }
    let validator =
        jsonschema::options().should_validate_formats(true).build(&schema).expect("the schema is a schema");
    let mut faults: Vec<String> =
        validator.iter_errors(log).map(|error| format!("{}: {error}", error.instance_path())).collect();
    faults.extend(results_of_other_rules(log));
    faults
}

/// A result names its rule twice; no schema can compare the two.
fn results_of_other_rules(log: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    for (run_index, run) in log["runs"].as_array().into_iter().flatten().enumerate() {
        for (index, result) in run["results"].as_array().into_iter().flatten().enumerate() {
            let rule = result["ruleIndex"].as_u64().and_then(|at| usize::try_from(at).ok());
            let id = rule.map(|at| &run["tool"]["driver"]["rules"][at]["id"]);
            if id != Some(&result["ruleId"]) {
                faults.push(format!("/runs/{run_index}/results/{index}/ruleIndex is of a different rule"));
            }
        }
    }
    faults
}
