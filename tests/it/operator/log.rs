//! What the log says of jobs, for programs that read it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Value, json};

use super::Desk;
use crate::process::recipe;

/// An object that names no key twice: RFC 8259 leaves to each reader what such an object means.
struct Line(BTreeMap<String, Value>);

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Line, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Line;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((key, value)) = map.next_entry::<String, Value>()? {
                    if fields.insert(key.clone(), value).is_some() {
                        return Err(serde::de::Error::custom(format!("{key} twice")));
                    }
                }
                Ok(Line(fields))
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

#[tokio::test]
async fn every_line_is_one_object_without_a_repeated_key_and_jobs_end_with_their_outcome() {
    let desk = Desk::open(&[], &["--install-seconds=1"]).await;
    let good = desk.submit(recipe("SIM0001")).await;
    assert_eq!(desk.served.settled(&good).await["status"], "succeeded");
    let wrong = json!({ "bmc_password": "not the password" });
    assert_eq!(desk.served.patch("/api/v1/servers/SIM0001", wrong).await.0, 200);
    let bad = desk.submit(recipe("SIM0001")).await;
    assert_eq!(desk.served.settled(&bad).await["status"], "failed");
    let log = desk.dir.path().join("controller.log");
    desk.served.stop("-TERM").await;

    let log = std::fs::read_to_string(log).unwrap();
    let lines: Vec<BTreeMap<String, Value>> = log
        .lines()
        .map(|line| serde_json::from_str::<Line>(line).unwrap_or_else(|error| panic!("{error}: {line}")).0)
        .collect();
    let of = |job: &str, message: &str| {
        let mut found = lines.iter().filter(|line| line.get("job") == Some(&json!(job)));
        found.find(|line| line["message"] == message).unwrap_or_else(|| panic!("{message}: {log}")).clone()
    };
    assert_eq!(of(&good, "job decided")["outcome"], "succeeded");
    assert_eq!(of(&good, "job over")["outcome"], "succeeded");
    let failed = of(&bad, "job failed");
    assert_eq!((&failed["level"], &failed["outcome"]), (&json!("WARN"), &json!("failed")));
    assert_eq!(failed["failed_step"], "resolve-server");
    assert!(failed["reason"].as_str().unwrap().contains("refused the account"), "{failed:?}");
    assert_eq!(of(&bad, "job over")["outcome"], "failed");
}
